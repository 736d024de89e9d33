// What all views share: what is live, what may be done here, how things are shown; and who has to be told of changes.

import { Problem, call, get, send, useToken } from "./calls.js";

const POLLED_MS = 3_000;
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
  try {
    return localStorage.getItem(KEPT + name) ?? otherwise;
  } catch {
    return otherwise; // storage is closed to this page
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(KEPT + name, value);
  } catch {
    // It counts until the page is left.
  }
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

/** Take a token, and ask what may be done with it; throws a Problem, and keeps none, where it is not accepted. */
export async function signIn(token, forThisTab) {
  useToken(token);
  try {
    session.access = await get("access");
  } catch (error) {
    useToken("");
    throw error;
  }
  if (forThisTab) sessionStorage.setItem(`${KEPT}token`, token);
  await look(true);
}

/** Forget the token. */
export async function signOut() {
  useToken("");
  sessionStorage.removeItem(`${KEPT}token`);
  session.access = null;
  session.live = null;
  await look(true);
}

/** Begin to look at the service, again and again while the page can be seen. */
export async function start() {
  const kept = sessionStorage.getItem(`${KEPT}token`);
  if (kept) useToken(kept);
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, POLLED_MS);
      document.addEventListener("visibilitychange", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}

/** Look whether the service answers and what is live, and have it drawn where that has changed. */
export async function look(again = false) {
  const before = JSON.stringify([session.ready, session.offlineSince !== null, session.problem?.code]);
  try {
    const answer = await send("GET", "health/ready");
    const told = await answer.json();
    session.ready = answer.ok ? told : { status: "not ready", model_version: null, details: [told.detail], source: null };
    session.offlineSince = null;
    session.access ??= await accessOf();
    if (session.access.read && (again || session.live?.version !== session.ready.model_version)) await loadLive();
    if (session.ready.model_version) session.problem = null;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "offline") session.offlineSince ??= new Date();
    else session.problem = error;
  }
  const after = JSON.stringify([session.ready, session.offlineSince !== null, session.problem?.code]);
  if (again || before !== after || session.offlineSince) changed();
}

async function accessOf() {
  try {
    return await get("access");
  } catch (error) {
    if (error.status !== 401) throw error;
    useToken(""); // one that was kept for this tab, and has been taken away since
    sessionStorage.removeItem(`${KEPT}token`);
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
