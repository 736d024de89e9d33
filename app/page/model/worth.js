// What a crop's line is worth, in a sentence for those who have never heard of R².

import { html, nothing } from "../lit.js";
import { decimals, percent, rounded, significant } from "../numbers.js";
import { heldOut, term } from "./words.js";

const SHARES = [[0.9, "nearly all"], [0.6, "most"], [0.3, "some"], [0.05, "a little"]];

/** Return the sentence, with what it rests on. */
export function worth(name, crop) {
  const { rmse, r_squared: share, by } = crop.out_of_fold;
  const explained = share === null ? null : SHARES.find(([least]) => share >= least)?.[1];
  const places = decimals(rmse);
  const ofMean = crop.mean_yield > 0 ? ` (${percent(rmse / crop.mean_yield)} of an average yield)` : "";
  return html`<section class="card worth">
    <p><strong>For ${heldOut(by)}, this line is typically off by ${rounded(rmse, places)} t of ${name}${ofMean}.</strong>
      ${explained ? `Weather explains ${explained} of what separates the yields.`
        : share === null ? "All yields are the same, so there is nothing to explain."
          : "Weather alone predicts them hardly better than their average does."}
      ${by === "nothing" ? "Too few rows to hold any out: on new ones it will be off by more." : nothing}
      ${effects(crop)}</p>
    <p class="fine">${term("RMSE, MAE", "RMSE")} ${term("held out, out of fold", by === "nothing" ? "in sample" : "out of fold")} ${rounded(rmse, places)} t
      ${share === null ? nothing : html` · ${term("R²")} ${significant(share, share > 0.99 ? 4 : 2)}`} · ${crop.rows.toLocaleString("en")} rows · average yield ${rounded(crop.mean_yield, places)} t</p>
  </section>`;
}

function effects({ effects: found, out_of_fold: { rmse } }) {
  if (!found?.region) return nothing;
  return html`Each region also differs in ways of its own, by about ${rounded(found.region.deviation, decimals(rmse))} t: of regions that it knows, the service takes that into account.`;
}
