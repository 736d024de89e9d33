// What a version says about itself: a crop's figures, and where all of it comes from.

import { link } from "../address.js";
import { address, curl } from "../calls.js";
import { table } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, decimals, moment, percent, rounded, significant } from "../numbers.js";
import { curlOf, download } from "../pieces.js";
import { heldOutBriefly, term } from "./words.js";

const HARD = 30;
const FEW = 12;

/** Return the figures of a crop. */
export function cropFacts(name, crop, record) {
  const { out_of_fold: held } = crop;
  const places = decimals(held.rmse);
  const tons = (value) => (value === null ? "–" : `${rounded(value, places)} t`);
  return html`<section class="card"><h2>Figures of ${name}</h2><dl class="facts">
    ${fact("Rows", crop.rows.toLocaleString("en"))}
    ${fact(term("R²"), significant(crop.r_squared, 4), term("in sample"))}
    ${fact(term("RMSE, MAE", held.by === "nothing" ? "RMSE in sample" : "RMSE out of fold"), tons(held.rmse), html`${term("held out, out of fold", "held out")} ${heldOutBriefly(held.by)}`)}
    ${held.mean_absolute_error === null ? nothing : fact(term("RMSE, MAE", "MAE"), tons(held.mean_absolute_error))}
    ${fact(html`Scatter about the line <small>standard deviation</small>`, tons(crop.residual_sd))}
    ${fact(term("degrees of freedom", "Degrees of freedom"), crop.degrees_of_freedom.toLocaleString("en"))}
    ${crop.condition_number === null ? nothing : fact(term("condition number", "Condition number"), significant(crop.condition_number), crop.condition_number > HARD ? "weights are hard to tell apart" : "weights can be told apart")}
    ${fact(html`Collinear <small>say the same as others</small>`, crop.collinear_features.join(", ") || "none")}
    ${fact(html`Constant <small>the same everywhere</small>`, crop.constant_features.join(", ") || "none")}
    ${fact(html`Absent <small>not in all rows</small>`, crop.absent_features?.join(", ") || "none")}
    ${effects(crop.effects, tons)}
    ${fact(term("record", "Record"), record?.rows ? html`<ul>${record.said.map((sentence) => html`<li>${sentence}</li>`)}</ul>` : "none yet: no yield was reported that had been predicted")}
  </dl></section>`;
}

function effects(found, tons) {
  if (!found) return fact(term("effects", "Effects"), "none seen", "of regions or seasons beyond the weather");
  const one = (name, effect) => (effect ? fact(html`${term("effects", "Effects")} of ${name}`, `± ${tons(effect.deviation)}`, `${count(effect.groups, name.slice(0, -1))}; ${percent(effect.share)} of what weather leaves open`) : fact(`Effects of ${name}`, "none seen"));
  return html`${one("regions", found.region)} ${one("seasons", found.season)} ${fact("Noise of a single row", `± ${tons(found.noise)}`)}`;
}

/** Return sentences, closed where they are many. */
function sentences(said) {
  const list = html`<ul class="reasons">${said.map((one) => html`<li>${one}</li>`)}</ul>`;
  return said.length <= FEW ? list : html`<details class="numbers"><summary>${count(said.length, "sentence")}</summary>${list}</details>`;
}

const fact = (name, value, more = nothing) => html`<div><dt>${name}</dt><dd>${value}${more === nothing ? nothing : html` <small>${more}</small>`}</dd></div>`;

/** Return where a version comes from. */
export function origin(card) {
  const path = `models/${card.version}`;
  return html`<section class="card"><h2>Where version ${card.version} comes from</h2><dl class="facts">
    ${fact("Trained", moment(card.created))}
    ${fact("Learned from", card.source)}
    ${card.note ? fact("Note", card.note) : nothing}
    ${fact("Rows", card.rows.total.toLocaleString("en"), `${card.rows.received.toLocaleString("en")} came with this training; ${count(card.batches.length + (card.stored?.count ?? 0), "batch", "batches")}`)}
    ${card.left_out.length ? fact("Left out", sentences(card.left_out)) : nothing}
    ${fact("Parent", card.parent === null ? "none: it is the first" : html`<a href=${link("model", [card.parent])}>version ${card.parent}</a>`, card.parent === null ? nothing : "live when it was trained")}
    ${fact(term("recipe", "Recipe"), card.recipe, card.seed === null ? nothing : `seed ${card.seed}`)}
    ${fact("Digest of the data", html`<code class="digest">${card.data_digest}</code>`)}
  </dl>
  <div class="actions">
    <a role="button" class="secondary outline" href=${address(path).href}>The card as JSON</a>
    <button type="button" class="secondary outline" @click=${() => download(`orchard-version-${card.version}.json`, JSON.stringify(card, null, 1), "application/json")}>Save it</button>
  </div>
  ${curlOf(curl("GET", path))}</section>`;
}

/** Return what the gate said of a version, and what it compared. */
export function gate(card) {
  const scores = Object.entries(card.scores).flatMap(([crop, { new: fresh, old }]) => [["new", fresh], ["old", old]]
    .filter(([, pair]) => pair.candidate_rmse !== null || pair.current_rmse !== null)
    .map(([rows, pair]) => [crop, rows, ton(pair.candidate_rmse), ton(pair.current_rmse)]));
  return html`<section class="card"><h2>What the ${term("gate")} said</h2>
    <p><strong>${card.decision === "accepted" ? "✓ Accepted" : "✕ Rejected"}</strong></p>
    ${sentences(card.reasons)}
    ${scores.length ? table({ name: "errors that the gate compared", columns: ["crop", "rows", "RMSE, tons", "of its parent"], rows: scores }) : nothing}
  </section>`;
}

const ton = (value) => (value === null ? null : html`<span class="number">${significant(value, 4)}</span>`);
