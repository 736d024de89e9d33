// The rows a version was trained on, beside what is predicted of them.

import { asked } from "../asked.js";
import { get } from "../calls.js";
import { session } from "../session.js";

const rows = asked(async (version, crop) => {
  const page = await get(`models/${encodeURIComponent(version)}/residuals`, { crop });
  return { page, rows: page.residuals.map((row) => flat(row, row.yields[crop])) };
});

/** Return a crop's `{page, rows}`, `{fault}`, or `{}` while they are on their way; null where a token is needed. */
export const points = (version, crop) => (session.access?.rows ? rows.of(version, crop) : null);
/** Ask again. */
export const retryPoints = rows.retry;

/** Return a row as it is drawn: its prediction is that of the line fitted without it, where that is known. */
function flat(row, { tons, fitted, out_of_fold: held, low, high, leverage }) {
  const predicted = held ?? fitted;
  const isInside = low === null ? null : tons >= low && tons <= high;
  return { ...row, tons, predicted, low, high, leverage, residual: tons - predicted, isInside };
}

/** Say which row it is. */
export const rowName = ({ region, season, row }) => [region ?? `row ${row + 1}`, season].filter((part) => part !== null).join(", ");
