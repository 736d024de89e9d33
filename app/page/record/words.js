// Errors in words. Those of the service are reported less predicted: below 0 where predictions were too high.

import { decimals, percent, rounded } from "../numbers.js";

/** Say how far off on which side a mean error is, such as "1.9 t too high". */
export function side(error, places = decimals(Math.abs(error))) {
  return Number(error.toFixed(Math.max(0, places))) ? `${rounded(Math.abs(error), places)} t too ${error < 0 ? "high" : "low"}` : "0 t";
}

/** Write a figure in tons with its band, where it has one. */
export function banded({ tons, low, high }) {
  if (low === null) return `${rounded(tons, decimals(Math.abs(tons)))} t`;
  const places = decimals((high - low) / 2);
  return `${rounded(tons, places)} t (${rounded(low, places)} to ${rounded(high, places)})`;
}

/** Say how many yields lay inside; a share only where they are enough for one. */
export function held({ inside, of, promised, low, high }) {
  const counted = `${inside.toLocaleString("en")} of ${of.toLocaleString("en")}`;
  if (low === null) return `${counted} inside, promised ${percent(promised, 1).replace(".0%", "%")}: too few for a share`;
  return `${counted} inside, ${percent(inside / of)} (${percent(low)} to ${percent(high)}), promised ${percent(promised, 1).replace(".0%", "%")}`;
}
