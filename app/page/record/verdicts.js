// What it comes to: the service's own sentence for each crop, and the figures behind it.

import { html, nothing } from "../lit.js";
import { count, percent, rounded } from "../numbers.js";
import { banded } from "./words.js";

/** Return them; `whole`: the answer of which all groups are crops. */
export const verdicts = ({ scores: groups, left_out: out }) => html`<section class="card verdicts">
  <h2>In short</h2>
  ${groups.map(verdict)}
  ${notCounted(out)}
</section>`;

const verdict = (group) => html`<div class="verdict-of">
  <h3>${group.crop}${group.set_aside ? html` <span class="fine">in batches that a training has set aside</span>` : nothing}
    ${group.below_promise ? html`<span class="tag rejected">▽ below promise</span>` : nothing}</h3>
  ${group.verdict.split("; ").map((sentence) => html`<p>${sentence[0].toUpperCase()}${sentence.slice(1)}.</p>`)}
  <p class="fine">${figures(group).join(" · ")}</p>
</div>`;

function figures({ n, seasons, ambiguous, rmse, mae, skill, coverage }) {
  return [
    `${count(n, "yield")} of ${count(seasons, "season")}`,
    rmse && `typically off by ${banded(rmse)} (RMSE)`,
    mae !== null && `on average by ${banded({ tons: mae, low: null })} (MAE)`,
    // Of few yields no share is told, as the service gives no band of one.
    skill !== null && rmse?.low !== null && (skill > 0 ? `skill ${rounded(skill, 2)}: ${percent(skill)} less squared error than always saying the average yield`
      : `skill ${rounded(skill, 2)}: no better than always saying the average yield`),
    coverage === null && "no interval to judge",
    ambiguous > 0 && `${count(ambiguous, "yield")} reported more than once: the newest counts`,
  ].filter(Boolean);
}

function notCounted({ learned, known, unreadable }) {
  const told = [
    learned && `${count(learned, "yield")} that the version had learned before`,
    known && `${count(known, "forecast")} stored after the yield was`,
    unreadable && `${count(unreadable, "yield")} whose version cannot be read`,
  ].filter(Boolean);
  return told.length ? html`<p class="fine">Not counted, since it would be no prediction: ${told.join(", ")}.</p>` : nothing;
}
