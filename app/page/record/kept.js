// What is stored for tokens: forecasts that wait for their harvest, and the batches that they came in.

import { call, get } from "../calls.js";
import { changed, session } from "../session.js";

const ROWS = 200;
let state = { who: null };

/** Return `{open, openNext, batches, batchesNext, fault, isBusy}`; lists are undefined until they are there. */
export function kept() {
  const { who, rows } = session.access;
  const key = `${who} ${rows}`;
  if (state.who !== key) {
    state = { who: key };
    load();
  }
  return state;
}

/** Ask anew when they are drawn next. */
export function forgetKept() {
  state = { who: null };
}

/** Ask again now. */
export function retryKept() {
  forgetKept();
  changed();
}

async function load() {
  const into = state;
  await taken(into, async () => {
    const [open, batches] = await Promise.all([openPage(), get("forecasts/batches")]);
    Object.assign(into, { open: open.forecasts, openNext: open.next, batches: batches.batches, batchesNext: batches.next });
  });
}

const openPage = (after = null) => get("forecasts", { open: true, limit: ROWS, after });

/** Fetch the open forecasts after those that are shown. */
export function moreOpen() {
  const into = state;
  return taken(into, async () => {
    const page = await openPage(into.openNext);
    Object.assign(into, { open: [...into.open, ...page.forecasts], openNext: page.next });
  });
}

/** Fetch the batches before those that are shown. */
export function moreBatches() {
  const into = state;
  return taken(into, async () => {
    const page = await get("forecasts/batches", { before: into.batchesNext });
    Object.assign(into, { batches: [...into.batches, ...page.batches], batchesNext: page.next });
  });
}

async function taken(into, work) {
  into.isBusy = true;
  into.fault = null;
  changed();
  try {
    await work();
  } catch (fault) {
    into.fault = fault;
  }
  into.isBusy = false;
  changed();
}

/** Erase a batch for good; throws a Problem. */
export const erase = (batch) => call("DELETE", `forecasts/batches/${encodeURIComponent(batch)}`);
