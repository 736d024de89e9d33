// The versions and the log, page by page, newest first.

import { get } from "../calls.js";
import { changed, session } from "../session.js";

const PAGE = 50;
const LINES = 20;
let kept = { key: null };

/** Return `{versions, next, log, nextLine}`, `{fault}`, or `{}` at first; asked for anew where another goes live. */
export function listed() {
  const key = JSON.stringify([session.ready?.model_version, session.activation?.number, session.access]);
  if (kept.key !== key) {
    // What is seen stays until there is something newer.
    kept = { ...kept, key, fault: null };
    fetchAll(kept);
  }
  return kept;
}

/** Ask again. */
export function reload() {
  kept.key = null;
  changed();
}

async function fetchAll(into) {
  try {
    const [page, lines] = await Promise.all([get("models", { limit: PAGE }), get("models/log", { limit: LINES })]);
    Object.assign(into, { versions: page.versions, next: page.next, log: lines.log, nextLine: lines.next });
  } catch (fault) {
    into.fault = fault;
  }
  changed();
}

/** Add the older versions that follow. */
export const more = () => append(kept, async (into) => {
  const page = await get("models", { limit: PAGE, before: into.next });
  into.versions = [...into.versions, ...page.versions];
  into.next = page.next;
});

/** Add the older lines of the log that follow. */
export const moreLines = () => append(kept, async (into) => {
  const page = await get("models/log", { limit: LINES, before: into.nextLine });
  into.log = [...into.log, ...page.log];
  into.nextLine = page.next;
});

async function append(into, fetching) {
  try {
    await fetching(into);
  } catch (fault) {
    into.fault = fault;
  }
  changed();
}
