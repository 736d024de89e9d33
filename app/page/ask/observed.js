// The rows that the live version was trained on, where a token lets them be seen.

import { get } from "../calls.js";
import { changed, session } from "../session.js";

const MOST = 1_000;
let kept = { version: null, rows: null };

/** Return the newest rows in use, at most a thousand; null where none may be seen, or until they are there. */
export function observed() {
  if (!session.access?.rows) return null;
  if (kept.version !== session.live.version) {
    kept = { version: session.live.version, rows: null };
    fetchRows(kept);
  }
  return kept.rows;
}

async function fetchRows(into) {
  try {
    into.rows = (await get("observations", { limit: MOST })).observations.filter((row) => !row.withdrawn);
  } catch {
    into.rows = null; // curves are drawn without points
  }
  changed();
}
