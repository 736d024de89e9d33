// What has been sent so far: who, when, why; what was withdrawn from training, and what may be taken back.

import { call, get } from "../calls.js";
import { html, nothing } from "../lit.js";
import { count, moment } from "../numbers.js";
import { loading, problem, tokenNeeded } from "../pieces.js";
import { changed, session } from "../session.js";
import { confirm } from "./confirm.js";

const shown = { entries: null, next: null, fault: null, isBusy: false, who: null };

/** Return the batches that are known so far, newest first; null before they are there. */
export const known = () => shown.entries;

/** Fetch the newest batches again, or with `more` those before the ones that are shown. */
export async function fetchBatches(more = false) {
  shown.isBusy = true;
  changed();
  try {
    const page = await get("observations/batches", { before: more ? shown.next : null });
    shown.entries = more ? [...shown.entries, ...page.batches] : page.batches;
    shown.next = page.next;
    shown.fault = null;
  } catch (error) {
    shown.fault = error;
  }
  shown.isBusy = false;
  changed();
}

/** Withdraw a batch from training; throws a Problem. */
export const withdraw = (batch, note) => call("DELETE", `observations/batches/${encodeURIComponent(batch)}`, { query: { note } });

/** Return the list; `again()`: look what a retrain on what is stored would change. `isLocked`: a retrain is under way. */
export function batches({ again, isLocked }) {
  const { access } = session;
  if (!access?.rows) return html`<section class="card"><h2>What was sent so far</h2>${tokenNeeded("Seeing the batches")}</section>`;
  if (shown.who !== access.who || (!shown.entries && !shown.fault && !shown.isBusy)) {
    Object.assign(shown, { who: access.who, entries: null });
    fetchBatches();
  }
  return html`<section class="card" aria-labelledby="batches-title">
    <h2 id="batches-title">What was sent so far</h2>
    ${shown.fault ? problem(shown.fault, () => fetchBatches()) : nothing}
    ${shown.entries ? list() : shown.fault ? nothing : loading("the batches", 90)}
    <div class="actions">
      ${shown.next ? html`<button type="button" class="secondary" ?disabled=${shown.isBusy} @click=${() => fetchBatches(true)}>Older ones</button>` : nothing}
      ${access.write && access.retrain ? html`<button type="button" class="secondary outline" ?disabled=${isLocked} @click=${again}>Retrain on what is in use …</button>` : nothing}
    </div>
  </section>`;
}

const list = () =>
  shown.entries.length
    ? html`<ul class="batches">${shown.entries.map(entry)}</ul>`
    : html`<p class="needed">Nothing is stored yet. The first table that is taken will stand here.</p>`;

const entry = ({ batch, source, note, who, rows, created, withdrawn, withdrawn_by: by, withdrawn_why: why }) => html`<li class=${withdrawn ? "withdrawn" : ""} data-batch=${batch}>
  <div><strong>${count(rows, "row")}</strong> <span class="fine">${moment(created)} by ${who}</span></div>
  <div>${note || html`<span class="fine">no note</span>`} <span class="fine">${source}</span>
    ${withdrawn ? html`<p class="fine"><strong>not in training</strong> since ${moment(withdrawn)}${by ? ` by ${by}` : ""}${why ? `: ${why}` : ""}</p>` : nothing}</div>
  ${session.access.write ? html`<button type="button" class="secondary outline" aria-label="${withdrawn ? "Restore" : "Withdraw"} the batch of ${moment(created)}"
    @click=${() => (withdrawn ? askRestore(batch, rows) : askWithdraw(batch, rows))}>${withdrawn ? "Restore" : "Withdraw"} …</button>` : nothing}
</li>`;

function askWithdraw(batch, rows) {
  confirm({
    title: "Withdraw this batch?",
    text: [`The next retrain does not learn its ${count(rows, "row")}. Nothing is erased, and the live version stays as it is until then.`],
    actions: [["Withdraw it", async (note) => (await withdraw(batch, note), fetchBatches())]],
  });
}

function askRestore(batch, rows) {
  const restore = (note) => call("POST", `observations/batches/${encodeURIComponent(batch)}/restore`, { query: { note } });
  confirm({
    title: "Restore this batch?",
    text: [`The next retrain learns its ${count(rows, "row")} again. The live version stays as it is until then.`],
    actions: [["Restore it", async (note) => (await restore(note), fetchBatches())]],
  });
}
