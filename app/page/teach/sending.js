// A retrain on its way: what it tells of its progress, what is done where the service is busy or the connection breaks.

import { Problem, events, problemOf, send } from "../calls.js";

const BUSY = ["retrain_running", "key_taken", "overloaded"];
const BROKEN = ["offline", "unconfirmed"];
/** After so many seconds a broken call is made again, under its key. */
const AGAIN_S = [1, 2, 4, 8, 15];

/**
 * Make the call, and return the report.
 *
 * `table`: what is sent; null: retrain on what is stored. `key`: an idempotency key; without one, as in a dry run, a broken
 * call is not made again. `tell` is told of each step, and of `{waiting}`, a sentence, before the call is made again.
 * Throws a Problem, and what `signal` says where it is aborted.
 */
export async function retrain({ table, query, key, signal, tell }) {
  for (let broken = 0; ; ) {
    try {
      return await attempt({ table, query, key, signal, tell });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const isBroken = BROKEN.includes(error.code) || [502, 504].includes(error.status);
      if (BUSY.includes(error.code)) {
        tell({ waiting: `${error.detail}. It is asked again, until it is free.` });
        await pause(Number(error.retryAfter) || 1, signal);
      } else if (isBroken && key && broken < AGAIN_S.length) {
        tell({ waiting: "The connection broke. It is asked again under the same key: if it was done, it is not done twice." });
        await pause(AGAIN_S[broken++], signal);
      } else throw error;
    }
  }
}

async function attempt({ table, query, key, signal, tell }) {
  const answer = await send("POST", "retrain", { query, body: table?.body, type: table?.type, accept: "text/event-stream", signal, key });
  if (!answer.ok) throw await problemOf(answer);
  try {
    for await (const { event, data } of events(answer)) {
      if (event === "result") return data;
      if (event === "error") throw new Problem(data);
      tell(data);
    }
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
  }
  throw new Problem({ code: "offline", detail: "The connection broke before the report came: it is not known whether it was done." });
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1_000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

/**
 * Return the key of a retrain: the same for the same table and query, so that it is done once, whoever asks again.
 *
 * `anew`: how many times it was asked for once more on purpose. What is stored changes by itself: it has a key of each time.
 */
export async function keyOf(table, query, anew) {
  const options = JSON.stringify([table.type, query, anew]);
  table.keys ??= {};
  table.keys[options] ??= table.body ? await digest(options, table.body) : random();
  return table.keys[options];
}

async function digest(options, body) {
  if (!crypto.subtle) return random(); // plain http: kept for this table, and another one after the page is loaded again
  const bytes = await new Blob([options, body]).arrayBuffer();
  return hexadecimal(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

const random = () => hexadecimal(crypto.getRandomValues(new Uint8Array(32)));
const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
