// The scores that are shown: of all that was said, and by group, each as it was asked for last.

import { get } from "../calls.js";
import { changed } from "../session.js";

/** Whether predictions are judged as they were given, or by the weather that was reported with the yields. */
export const BASES = { forecast: "as forecast", arrival: "as it arrived" };
/** What groups are made by, and what that is called. */
export const GROUPINGS = { season: "season", lead: "days before harvest", version: "version", extrapolated: "inside or outside training", region: "region" };

const NOT_SAID = { season: "no season", region: "no region", lead: "no day is known", version: "not known", extrapolated: "not known" };
let kept = { key: null };

/** Return `{whole, grouped}` once it is there, `{fault}`, or `{}` while it is on its way. */
export function scores(basis, by) {
  const key = JSON.stringify([basis, by]);
  if (kept.key !== key) {
    kept = { key };
    fetchScores(kept, basis, by);
  }
  return kept;
}

/** Ask again when they are drawn next: yields may have come since. */
export function forgetScores() {
  kept = { key: null };
}

async function fetchScores(into, basis, by) {
  try {
    const [whole, grouped] = await Promise.all([get("scores", { basis }), get("scores", { basis, by })]);
    Object.assign(into, { whole, grouped });
  } catch (fault) {
    into.fault = fault;
  }
  changed();
}

/** Say which group it is of those that were made `by` something. */
export function groupName(group, by) {
  const value = group[by];
  const named = value === null ? NOT_SAID[by] : by === "extrapolated" ? (value ? "outside training" : "inside training")
    : by === "lead" ? `${value.replace("-", " to ")} days` : by === "version" ? `version ${value}` : value;
  return group.set_aside ? `${named}, set aside` : named;
}
