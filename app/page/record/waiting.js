// Forecasts that wait for their harvest.

import { curl } from "../calls.js";
import { table } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, day, interval } from "../numbers.js";
import { curlOf, loading, problem, tokenNeeded } from "../pieces.js";
import { session } from "../session.js";
import { kept, moreOpen, retryKept } from "./kept.js";
import { levelOf } from "./words.js";

/** Return the card. */
export function waiting() {
  return html`<section class="card"><h2>Waiting for their harvest</h2>${session.access?.rows ? content(kept()) : tokenNeeded("Seeing single forecasts")}</section>`;
}

function content({ open, openNext, fault, isBusy }) {
  if (fault && !open) return problem(fault, retryKept);
  if (!open) return loading("the forecasts", 90);
  if (!open.length && !openNext) return html`<p class="needed">No forecast is open.</p>`;
  return html`
    ${fault ? problem(fault, retryKept) : nothing}
    <p>${count(open.length, "forecast")}${openNext ? " and more" : ""} without an outcome so far. Report the harvest with the same region and season, and each is scored.</p>
    ${open.length ? listed(open) : nothing}
    ${openNext ? html`<div class="actions"><button type="button" class="secondary" ?disabled=${isBusy} @click=${moreOpen}>More</button></div>` : nothing}
    ${curlOf(curl("GET", "forecasts", { query: { open: true }, withToken: true }))}`;
}

function listed(open) {
  const crops = [...new Set(open.flatMap(({ yields }) => Object.keys(yields)))];
  const written = (tons) => {
    if (!tons) return null;
    const told = interval(tons);
    return told.low === null ? `${told.tons} t` : `${told.tons} t (${told.low} to ${told.high})`;
  };
  return table({
    name: "forecasts that wait for their harvest",
    columns: ["region", "season", ...crops, "due", "version", "level", "forecast on"],
    rows: open.map((one) => [one.region, one.season, ...crops.map((crop) => written(one.yields[crop])), one.due ? day(one.due) : null,
      one.model_version, levelOf(one), day(one.created)]),
  });
}
