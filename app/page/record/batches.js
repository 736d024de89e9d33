// Who stored which forecasts, when and why; a batch can be erased.

import { html, nothing } from "../lit.js";
import { count, moment } from "../numbers.js";
import { session } from "../session.js";
import { confirm } from "../teach/confirm.js";
import { erase, kept, moreBatches, retryKept } from "./kept.js";
import { forgetScores } from "./scores.js";
import { levelOf } from "./words.js";

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
  <div>${batch.note || html`<span class="fine">no note</span>`} <span class="fine">${batch.source}; version ${batch.model_version}, ${levelOf(batch)}; ${batch.crops.join(", ")}${batch.erased ? `; ${batch.erased} erased by age` : ""}</span></div>
  ${session.access.write ? html`<button type="button" class="secondary outline" aria-label="Erase the forecasts of ${moment(batch.created)}" @click=${() => ask(batch)}>Erase …</button>` : nothing}
</li>`;

function ask({ batch, rows, erased, created, who }) {
  confirm({
    title: "Erase these forecasts?",
    text: [`${count(rows - erased, "forecast")} of ${moment(created)} by ${who} will be gone for good, and no longer scored. No model has learned from them; harvests stay.`],
    hasNote: false,
    actions: [["Erase them", async () => (await erase(batch), forgetScores(), retryKept())]],
  });
}
