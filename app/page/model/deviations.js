// Standard deviations of the weather of training: cards have none, so they are taken where they are told.

import { get } from "../calls.js";
import { same } from "../figures.js";
import { changed, session } from "../session.js";

let drift = { version: null, found: null };

/**
 * Return them by feature, in the service's units, and null where they are not known: of the crop's rows where all of
 * these are here, else of what the live version tells about the weather it was asked about.
 */
export function deviations({ version, features }, loaded) {
  const isWhole = loaded?.rows?.length > 1 && loaded.page.selected_by === null && !loaded.page.reason;
  if (isWhole) return same("deviations", [loaded.rows], () => ofRows(features, loaded.rows));
  return version === session.live?.version ? ofDrift(version) : null;
}

function ofRows(features, rows) {
  const known = features.filter(({ name }) => rows.every((row) => row[name] !== null));
  return Object.fromEntries(known.map(({ name }) => [name, d3.deviation(rows, (row) => row[name])]));
}

function ofDrift(version) {
  if (drift.version !== version) {
    drift = { version, found: null };
    fetchDrift(drift);
  }
  return drift.found;
}

async function fetchDrift(into) {
  try {
    const { features } = await get("models/live/drift");
    const found = Object.entries(features).map(([name, each]) => [name, each.training_deviation]);
    if (found.length) into.found = Object.fromEntries(found);
  } catch {
    // Coefficients are told in other scales.
  }
  changed();
}
