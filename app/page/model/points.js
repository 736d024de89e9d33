// The rows a version was trained on, beside what is predicted of them.

import { get } from "../calls.js";
import { changed, session } from "../session.js";

let kept = { key: null };

/** Return `{page}`, `{fault}`, or `{}` while it is on its way; null where a token is needed. `crop`: null for all. */
export function points(version, crop = null) {
  if (!session.access?.rows) return null;
  const key = JSON.stringify([version, crop]);
  if (kept.key !== key) {
    kept = { key };
    fetchPoints(kept, version, crop);
  }
  return kept;
}

/** Ask again. */
export function retryPoints() {
  kept = { key: null };
  changed();
}

async function fetchPoints(into, version, crop) {
  try {
    into.page = await get(`models/${encodeURIComponent(version)}/residuals`, { crop });
    if (crop !== null) into.rows = into.page.residuals.map((row) => flat(row, row.yields[crop]));
  } catch (fault) {
    into.fault = fault;
  }
  changed();
}

/** Return a row as it is drawn: its prediction is that of the line fitted without it, where that is known. */
function flat(row, { tons, fitted, out_of_fold: held, low, high, leverage }) {
  const predicted = held ?? fitted;
  const isInside = low === null ? null : tons >= low && tons <= high;
  return { ...row, tons, predicted, low, high, leverage, residual: tons - predicted, isInside, isHeldOut: held !== null };
}

/** Say which row it is. */
export const rowName = ({ region, season, row }) => [region ?? `row ${row + 1}`, season].filter((part) => part !== null).join(", ");
