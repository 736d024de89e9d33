// What all views share: what is live, what may be done here, how things are shown; and who has to be told of changes.

import { Problem, call, get, parsed, send, useToken, whenRefused } from "./calls.js";

const POLLED_MS = 3_000;
const PATIENCE_MS = 10_000;
const SENDABLE = /^[\x21-\x7e]+$/;
const KEPT = "orchard.";

/** The state that views draw from. Change it by the functions below. */
export const session = {
  /** What /health/ready says: `{status, model_version, details, source}`; null before it was asked. */
  ready: null,
  /** The live version's card; null before it is there, or where there is none. */
  live: null,
  /** The newest line of the activation log. */
  activation: null,
  /** What may be done: `{who, read, rows, write, retrain}`; null before it was asked. */
  access: null,
  /** A Problem that keeps the live version from being shown. */
  problem: null,
  /** Since when the service does not answer (Date), null while it does. */
  offlineSince: null,
  units: { temperature: recalled("temperature", "°F"), rainfall: recalled("rainfall", "mm"), humidity: "%" },
  theme: document.documentElement.dataset.theme ?? "auto",
};

const watchers = new Set();

/** Have a function called after each change. */
export function watch(watcher) {
  watchers.add(watcher);
}

/** Say that something has changed that is drawn. */
export function changed() {
  for (const watcher of watchers) watcher();
}

function recalled(name, otherwise) {
  return stored("localStorage", (storage) => storage.getItem(KEPT + name)) ?? otherwise;
}

/** Do something with the browser's storage, which may be closed to this page: then nothing is kept. */
function stored(storage, work) {
  try {
    return work(window[storage]);
  } catch {
    return null;
  }
}

function remember(name, value) {
  stored("localStorage", (storage) => storage.setItem(KEPT + name, value));
}

/** Show and take a feature in another unit. */
export function chooseUnit(feature, unit) {
  session.units = { ...session.units, [feature]: unit };
  remember(feature, unit);
  changed();
}

/** Draw in a theme: "auto" follows the system. */
export function chooseTheme(theme) {
  session.theme = theme;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  remember("theme", theme);
  changed();
}

/** Take a token, and ask what may be done with it; throws a Problem, and keeps the one before, where it is not accepted. */
export async function signIn(token, forThisTab) {
  if (!SENDABLE.test(token)) throw new Problem({ code: "token", detail: "This is no token: it has only letters, digits and signs, and no spaces." });
  const before = useToken(token);
  const { access } = session;
  try {
    session.access = await get("access");
  } catch (error) {
    useToken(before);
    session.access = access;
    throw error;
  }
  if (forThisTab) stored("sessionStorage", (storage) => storage.setItem(`${KEPT}token`, token));
  else forget();
  await look(true);
}

/** Forget the token. */
export async function signOut() {
  useToken("");
  forget();
  session.access = null;
  session.live = null;
  await look(true);
}

const forget = () => stored("sessionStorage", (storage) => storage.removeItem(`${KEPT}token`));

/** Begin to look at the service, again and again while the page can be seen. */
export async function start() {
  const kept = stored("sessionStorage", (storage) => storage.getItem(`${KEPT}token`));
  if (kept) useToken(kept);
  whenRefused(() => (session.access = null)); // it is asked again at the next look
  for (;;) {
    if (!document.hidden) await look().catch(console.error); // whatever goes wrong, it looks again
    await pause();
  }
}

/** Wait for a while, or until the page is shown again. */
function pause() {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", go);
      resolve();
    };
    const timer = setTimeout(go, POLLED_MS);
    document.addEventListener("visibilitychange", go);
  });
}

/** Look whether the service answers and what is live, and have it drawn where that has changed. */
export async function look(again = false) {
  const before = JSON.stringify([session.ready, session.offlineSince !== null, session.problem?.code]);
  try {
    const answer = await send("GET", "health/ready", { signal: AbortSignal.timeout(PATIENCE_MS) });
    const told = await parsed(answer);
    session.ready = answer.ok ? told : { status: "not ready", model_version: null, details: [told.detail], source: null };
    session.offlineSince = null;
    session.access ??= await accessOf();
    if (session.access.read && (again || session.live?.version !== session.ready.model_version)) await loadLive();
    if (session.ready.model_version) session.problem = null;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "offline" || error.code === "proxy") session.offlineSince ??= new Date();
    else session.problem = error;
  }
  const after = JSON.stringify([session.ready, session.offlineSince !== null, session.problem?.code]);
  if (again || before !== after) changed();
}

async function accessOf() {
  try {
    return await get("access");
  } catch (error) {
    if (error.status !== 401) throw error;
    useToken(""); // it has been taken away since
    forget();
    return get("access");
  }
}

async function loadLive() {
  if (!session.ready.model_version) {
    session.live = null;
    return;
  }
  const [live, log] = await Promise.all([get("models/live"), get("models/log", { limit: 1 })]);
  session.live = live;
  session.activation = log.log[0] ?? null;
}

/** Make a version live; throws a Problem. */
export async function activate(version, note) {
  await call("POST", `models/${encodeURIComponent(version)}/activate`, { body: note ? { note } : {} });
  await look(true);
}
