// Cards of versions, fetched once: a version never changes.

import { get } from "../calls.js";
import { changed } from "../session.js";

const kept = new Map();

/** Return `{card}`, `{fault}`, or `{}` while it is on its way. */
export function cardOf(version) {
  if (!kept.has(version)) fetchCard(version);
  return kept.get(version);
}

/** Ask again for a card that could not be had. */
export function retryCard(version) {
  kept.delete(version);
  changed();
}

async function fetchCard(version) {
  kept.set(version, {});
  try {
    kept.set(version, { card: await get(`models/${encodeURIComponent(version)}`) });
  } catch (fault) {
    kept.set(version, { fault });
  }
  changed();
}
