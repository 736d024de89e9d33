// The versions as a table: what each is, how far off, and two of them to be ticked.

import { link } from "../address.js";
import { scrolling } from "../figures.js";
import { html, live, nothing } from "../lit.js";
import { cardOf, retryCard } from "../model/cards.js";
import { heldOutBriefly } from "../model/words.js";
import { moment, significant } from "../numbers.js";
import { own } from "../own.js";
import { changed } from "../session.js";
import { SIGNS, stateOf } from "./errors.js";

const explained = new Set();

/**
 * Return the table. `ticked`: versions that are compared; `tick(version)` is told of each change, `activate(version)`
 * of a wish to make one live.
 */
export const versionTable = ({ versions, crops, ticked, tick, activate }) =>
  scrolling("versions", html`<table class="versions">
    <thead><tr><th scope="col">Compare</th><th scope="col">Version</th><th scope="col">State</th><th scope="col">Trained</th><th scope="col" class="number">Rows</th>
      ${crops.map((crop) => html`<th scope="col" class="number">${crop} <small>RMSE, t</small></th>`)}<th scope="col">From</th><th scope="col"><span class="unseen">Make live</span></th></tr></thead>
    <tbody>${versions.map((entry) => row(entry, { crops, ticked, tick, activate }))}</tbody>
  </table>`, "whole");

function row(entry, { crops, ticked, tick, activate }) {
  const { version } = entry;
  const state = stateOf(entry);
  const width = crops.length + 7;
  const isRejected = entry.decision === "rejected";
  return html`<tr data-version=${version} class=${state}>
    <td>${entry.damaged ? nothing : html`<label class="tick"><input type="checkbox" aria-label=${`Compare version ${version}`} .checked=${live(ticked.includes(version))} @change=${() => tick(version)}></label>`}</td>
    <th scope="row">${entry.damaged ? version : html`<a href=${link("model", [version])}>${version}<span class="unseen">: the model of this version</span></a>`}</th>
    <td><span class="tag ${state}">${SIGNS[state]} ${state}</span> ${entry.live && entry.decision === "rejected" ? html`<small>rejected by the gate</small>` : nothing}
      ${entry.damaged ? html`<small>it cannot be read</small>` : nothing} ${isRejected ? why(version) : nothing}</td>
    <td>${entry.created ? moment(entry.created) : "–"}</td>
    <td class="number">${entry.rows?.toLocaleString("en") ?? "–"}</td>
    ${crops.map((crop) => error(own(entry.out_of_fold, crop)))}
    <td class="from">${entry.source ?? "–"}${entry.note ? html` <small>${entry.note}</small>` : nothing}${entry.parent ? html` <small>after version ${entry.parent}</small>` : nothing}</td>
    <td>${entry.live || entry.damaged ? nothing : html`<button type="button" class="secondary outline" aria-label=${`Make version ${version} live`} @click=${() => activate(version)}>Make live</button>`}</td>
  </tr>
  ${isRejected && explained.has(version) ? html`<tr id=${`why-${version}`} class="because"><td colspan=${width}>${reasons(version)}</td></tr>` : nothing}`;
}

const error = (held) => html`<td class="number">${held ? html`${significant(held.rmse)} <small>${heldOutBriefly(held.by)}</small>` : "–"}</td>`;

/** Return what opens the row of reasons, which are asked for then. */
function why(version) {
  const isOpen = explained.has(version);
  const toggle = () => {
    if (!explained.delete(version)) explained.add(version);
    changed();
  };
  return html`<button type="button" class="link" aria-expanded=${isOpen} aria-controls=${`why-${version}`} @click=${toggle}>${isOpen ? "Hide why" : "Why?"}<span class="unseen"> version ${version} was rejected</span></button>`;
}

/** Return the gate's reasons of a version, as a list. */
export function reasons(version) {
  const { card, fault } = cardOf(version);
  if (fault) return html`<p class="fine">${fault.detail} <button type="button" class="link" @click=${() => retryCard(version)}>Try again</button></p>`;
  if (!card) return html`<p class="fine" aria-busy="true">Loading …</p>`;
  return html`<ul class="reasons">${card.reasons.map((reason) => html`<li>${reason}</li>`)}</ul>`;
}
