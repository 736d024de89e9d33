// What has come of a retrain, and the way back.

import { get } from "../calls.js";
import { html, nothing } from "../lit.js";
import { count } from "../numbers.js";
import { activate, changed, look, session } from "../session.js";
import { fetchBatches, known, withdraw } from "./batches.js";
import { confirm } from "./confirm.js";
import { firstTaught, learnedBy } from "./learned.js";
import { reportOf } from "./report.js";

/** See what has come of it: whether it was done now or long ago, and what it can be taken back to. */
export async function lookBack(work, seen) {
  work.isRepeat = seen.has(work.report.batch);
  await Promise.all([look(true), fetchBatches()]);
  await undoOf(work);
  changed();
}

async function undoOf(work) {
  const { activated, version } = work.report;
  if (!activated || version === null) return;
  try {
    const card = await get(`models/${version}`);
    if (card.parent === null) return;
    const before = await get(`models/${card.parent}`);
    const entries = await entriesFrom(firstTaught(card, before));
    const [has, had] = [card, before].map((each) => learnedBy(each, entries));
    const taught = entries.filter((entry) => has(entry) && !had(entry)).map(({ batch }) => batch);
    const named = card.batches.filter((batch) => !before.batches.includes(batch) && !entries.some((entry) => entry.batch === batch));
    work.undo = { parent: card.parent, batches: [...taught, ...named] };
  } catch {
    work.undo = null; // it is offered among the versions all the same
  }
}

/** Return the batches that are known, and those before them as far as the one at a place that are in training. */
async function entriesFrom(place) {
  const entries = [...(known() ?? [])];
  let before = entries.at(-1);
  while (before && before.sequence > place) {
    const { batches, next } = await get("observations/batches", { before: before.batch, limit: 1000 });
    entries.push(...batches.filter(({ withdrawn }) => !withdrawn));
    before = next === null ? undefined : batches.at(-1);
  }
  return entries;
}

/** Return it; `sendAnew()`: once more, under another key. `bring(null)`: begin again. */
export function outcome(work, { sendAnew, bring }) {
  const { report } = work;
  return html`<section class="card" aria-labelledby="teach-done">
    <h2 id="teach-done" tabindex="-1">What has come of it</h2>
    ${work.isRepeat ? html`<p class="banner" role="status">The service has had this very table with these options before, and answers as it did then: nothing was done now.
      <button type="button" class="link" @click=${sendAnew}>Send it as a new one</button></p>` : nothing}
    ${work.undone ? html`<p class="banner good" role="status">${work.undone}</p>` : nothing}
    ${reportOf(report, work.before)}
    <div class="actions">
      ${report.version === null ? nothing : html`<a role="button" href="#/model/${report.version}">Version ${report.version}</a>`}
      ${work.undo && session.ready?.model_version === report.version ? html`<button type="button" class="secondary" @click=${() => askUndo(work)}>Undo …</button>` : nothing}
      <button type="button" class="secondary outline" @click=${() => bring(null)}>Bring another table</button>
    </div>
  </section>`;
}

function askUndo(work) {
  const { undo: { parent, batches: taught }, report } = work;
  const later = taught.filter((batch) => !known()?.find((entry) => entry.batch === batch)?.withdrawn);
  const what = count(later.length, "batch", "batches");
  confirm({
    title: `Back to version ${parent}?`,
    text: [
      `Version ${parent} becomes live again; version ${report.version} is kept.`,
      ...(later.length ? [`${what} that version ${parent} has not learned ${later.length === 1 ? "stays" : "stay"} in training: the next retrain learns ${later.length === 1 ? "it" : "them"} again, unless you withdraw ${later.length === 1 ? "it" : "them"}, too. Nothing is erased.`] : []),
    ],
    actions: [
      ...(later.length ? [[`Undo, and withdraw ${what}`, (note) => undo(work, later, note)]] : []),
      [later.length ? "Undo only" : "Undo", (note) => undo(work, [], note)],
    ],
  });
}

async function undo(work, later, note) {
  const { parent } = work.undo;
  await activate(parent, note);
  for (const batch of later) await withdraw(batch, note || `learned after version ${parent}, which is live again`);
  work.undone = `Version ${parent} is live again. ${later.length ? `${count(later.length, "batch", "batches")} withdrawn: the next retrain does not learn from ${later.length === 1 ? "it" : "them"}.` : "What was sent stays in training."}`;
  await fetchBatches();
}
