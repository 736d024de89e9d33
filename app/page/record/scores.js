// The scores that are shown: of all that was said, and by group, each as it was asked for last.

import { asked } from "../asked.js";
import { get } from "../calls.js";

/** Whether predictions are judged as they were given, or by the weather that was reported with the yields. */
export const BASES = { forecast: "as forecast", arrival: "as it arrived" };
/** What groups are made by, and what that is called. */
export const GROUPINGS = { season: "season", lead: "days before harvest", version: "version", extrapolated: "inside or outside training", region: "region" };

const NOT_SAID = { season: "no season", region: "no region", lead: "no day is known", version: "not known", extrapolated: "not known" };

const answers = asked(async (basis, by) => {
  const [whole, grouped] = await Promise.all([get("scores", { basis }), get("scores", { basis, by })]);
  return { whole, grouped };
});

/** Return `{whole, grouped}` once it is there, `{fault}`, or `{}` while it is on its way; of a basis and what groups are made by. */
export const scores = answers.of;
/** Ask again when they are drawn next: yields may have come since. */
export const forgetScores = answers.forget;
/** Ask again now. */
export const retryScores = answers.retry;

/** Say which group it is of those that were made `by` something. */
export function groupName(group, by) {
  const value = group[by];
  const named = value === null ? NOT_SAID[by] : by === "extrapolated" ? (value ? "outside training" : "inside training")
    : by === "lead" ? `${value.replace("-", " to ")} days` : by === "version" ? `version ${value}` : value;
  return group.set_aside ? `${named}, set aside` : named;
}
