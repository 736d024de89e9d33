// The versions and the log, page by page, newest first.

import { get } from "../calls.js";
import { changed, session } from "../session.js";

const PAGE = 50;
const LINES = 20;
let kept = { key: null };

/** Return `{versions, next, log, nextLine}`, `{fault}`, or `{}` at first; asked for anew after `reload`, and where another goes live. */
export function listed() {
  const key = JSON.stringify([session.ready?.model_version, session.activation?.number, session.access]);
  if (kept.key !== key) {
    // What is seen stays until there is something newer.
    kept = { ...kept, key, fault: null, busy: new Set() };
    fetchAll(kept);
  }
  return kept;
}

/** Ask again; what is seen stays meanwhile. */
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
export const more = () => append(kept, "versions", async (into) => {
  const page = await get("models", { limit: PAGE, before: into.next });
  into.versions = [...into.versions, ...page.versions];
  into.next = page.next;
});

/** Add the older lines of the log that follow. */
export const moreLines = () => append(kept, "log", async (into) => {
  const page = await get("models/log", { limit: LINES, before: into.nextLine });
  into.log = [...into.log, ...page.log];
  into.nextLine = page.next;
});

/** Have more added to a list, once at a time: a second click would add the same again. */
async function append(into, name, fetching) {
  if (into.busy.has(name)) return;
  into.busy.add(name);
  try {
    await fetching(into);
  } catch (fault) {
    into.fault = fault;
  }
  into.busy.delete(name);
  changed();
}
