// Standard deviations of the weather of training: cards have none, so they are taken where they are told.

import { asked } from "../asked.js";
import { get } from "../calls.js";
import { same } from "../figures.js";
import { session } from "../session.js";

const drift = asked(async () => {
  const features = Object.entries((await get("models/live/drift")).features);
  return { found: features.length ? Object.fromEntries(features.map(([name, each]) => [name, each.training_deviation])) : null };
});

/**
 * Return them by feature, in the service's units, and null where they are not known: of the crop's rows where all of
 * these are here, else of what the live version tells about the weather it was asked about.
 */
export function deviations({ version, features }, loaded) {
  const isWhole = loaded?.rows?.length > 1 && loaded.page.selected_by === null && !loaded.page.reason;
  if (isWhole) return same("deviations", [loaded.rows], () => ofRows(features, loaded.rows));
  // Where they cannot be had, coefficients are told in other scales.
  return version === session.live?.version ? (drift.of(version).found ?? null) : null;
}

function ofRows(features, rows) {
  const known = features.filter(({ name }) => rows.every((row) => row[name] !== null));
  return Object.fromEntries(known.map(({ name }) => [name, d3.deviation(rows, (row) => row[name])]));
}
