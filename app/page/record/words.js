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

/** Write the share that was promised. */
export const promise = ({ promised }) => percent(promised, 1).replace(".0%", "%");
/** Write the level of a forecast. */
export const levelOf = ({ level }) => `${+(100 * level).toFixed(3)}%`;

/** Say how many yields lay inside; a share only where they are enough for one. */
export function held(told) {
  const { inside, of, low, high } = told;
  const counted = `${inside.toLocaleString("en")} of ${of.toLocaleString("en")}`;
  if (low === null) return `${counted} inside, promised ${promise(told)}: too few for a share`;
  return `${counted} inside, ${percent(inside / of)} (${percent(low)} to ${percent(high)}), promised ${promise(told)}`;
}
