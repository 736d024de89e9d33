// What is stored for tokens: forecasts that wait for their harvest, and the batches that they came in.

import { asked } from "../asked.js";
import { call, get } from "../calls.js";
import { changed, session } from "../session.js";

const ROWS = 200;
const openPage = (after = null) => get("forecasts", { open: true, limit: ROWS, after });
const state = asked(async () => {
  const [open, batches] = await Promise.all([openPage(), get("forecasts/batches")]);
  return { open: open.forecasts, openNext: open.next, batches: batches.batches, batchesNext: batches.next };
});

/** Return `{open, openNext, batches, batchesNext, fault, isBusy}`; lists are undefined until they are there. */
export const kept = () => state.of(session.access.who, session.access.rows);
/** Ask anew when they are drawn next. */
export const forgetKept = state.forget;
/** Ask again now. */
export const retryKept = state.retry;

/** Fetch the open forecasts after those that are shown. */
export const moreOpen = () => grown(async ({ open, openNext }) => {
  const page = await openPage(openNext);
  return { open: [...open, ...page.forecasts], openNext: page.next };
});

/** Fetch the batches before those that are shown. */
export const moreBatches = () => grown(async ({ batches, batchesNext }) => {
  const page = await get("forecasts/batches", { before: batchesNext });
  return { batches: [...batches, ...page.batches], batchesNext: page.next };
});

async function grown(fetching) {
  const into = kept();
  Object.assign(into, { isBusy: true, fault: null });
  changed();
  try {
    Object.assign(into, await fetching(into));
  } catch (fault) {
    into.fault = fault;
  }
  into.isBusy = false;
  changed();
}

/** Erase a batch for good; throws a Problem. */
export const erase = (batch) => call("DELETE", `forecasts/batches/${encodeURIComponent(batch)}`);
