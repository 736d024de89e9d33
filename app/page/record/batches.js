// Who stored which forecasts, when and why; a batch can be erased.

import { html, nothing } from "../lit.js";
import { count, moment } from "../numbers.js";
import { problem } from "../pieces.js";
import { changed, session } from "../session.js";
import { erase, kept, moreBatches, retryKept } from "./kept.js";
import { forgetScores } from "./scores.js";

let asking = null;
let fault = null;
let isBusy = false;

const dialog = () => document.querySelector("#erase-dialog");

/** Return the card; nothing without a token, and where no forecast was stored. */
export function batches() {
  if (!session.access?.rows) return nothing;
  const { batches: found, batchesNext, isBusy: isLoading } = kept();
  if (!found?.length) return nothing;
  return html`<section class="card"><h2>What was forecast</h2>
    <ul class="batches">${found.map(entry)}</ul>
    ${batchesNext ? html`<div class="actions"><button type="button" class="secondary" ?disabled=${isLoading} @click=${moreBatches}>Older ones</button></div>` : nothing}
  </section>`;
}

const entry = (batch) => html`<li data-batch=${batch.batch}>
  <div><strong>${count(batch.rows - batch.erased, "forecast")}</strong> <span class="fine">${moment(batch.created)} by ${batch.who}</span></div>
  <div>${batch.note || html`<span class="fine">no note</span>`} <span class="fine">${batch.source}; version ${batch.model_version}, ${+(100 * batch.level).toFixed(3)}%; ${batch.crops.join(", ")}${batch.erased ? `; ${batch.erased} erased by age` : ""}</span></div>
  ${session.access.write ? html`<button type="button" class="secondary outline" aria-label="Erase the forecasts of ${moment(batch.created)}" @click=${() => ask(batch)}>Erase …</button>` : nothing}
</li>`;

function ask(batch) {
  asking = batch;
  fault = null;
  changed();
  dialog().showModal();
}

/** Return the dialog, closed until a batch is to be erased. */
export const eraseDialog = () => html`<dialog id="erase-dialog" aria-labelledby="erase-title"><article>
  <h2 id="erase-title">Erase these forecasts?</h2>
  ${asking ? html`<p>${count(asking.rows - asking.erased, "forecast")} of ${moment(asking.created)} by ${asking.who} will be gone for good, and no longer scored. No model has learned from them; harvests stay.</p>` : nothing}
  ${fault ? problem(fault) : nothing}
  <footer class="actions">
    <button type="button" class="secondary outline" @click=${() => dialog().close()}>Cancel</button>
    <button type="button" ?disabled=${isBusy} @click=${act}>Erase them</button>
  </footer>
</article></dialog>`;

async function act() {
  isBusy = true;
  fault = null;
  changed();
  try {
    await erase(asking.batch);
    dialog()?.close();
    forgetScores();
    retryKept();
  } catch (error) {
    fault = error;
  }
  isBusy = false;
  changed();
}
