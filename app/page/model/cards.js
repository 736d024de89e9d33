// Cards of versions: what one has learned never changes, but its record goes on while it is live.

import { get } from "../calls.js";
import { changed, session } from "../session.js";

const kept = new Map();

/** Return `{card}`, `{fault}`, or `{}` while it is on its way. */
export function cardOf(version) {
  if (!kept.has(version)) {
    if (version === session.live?.version) kept.set(version, { card: session.live });
    else fetchCard(version);
  }
  return kept.get(version);
}

/** Ask anew for a card; the one that is there stays until then, and where it cannot be had. */
export function renew(version) {
  if (cardOf(version).card) fetchCard(version);
}

/** Ask again for a card that could not be had. */
export function retryCard(version) {
  kept.delete(version);
  changed();
}

async function fetchCard(version) {
  const before = kept.get(version)?.card;
  kept.set(version, before ? { card: before } : {});
  try {
    kept.set(version, { card: await get(`models/${encodeURIComponent(version)}`) });
  } catch (fault) {
    kept.set(version, before ? { card: before } : { fault });
  }
  changed();
}
