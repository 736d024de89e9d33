// All versions: how good each is, what sets two of them apart, and which one answers.

import { here, link, note } from "../address.js";
import { curl } from "../calls.js";
import { same } from "../figures.js";
import { html, nothing } from "../lit.js";
import { curlOf, empty, loading, problem } from "../pieces.js";
import { changed } from "../session.js";
import { activated, activationDialog, forgetActivation, openActivation } from "./activation.js";
import { difference } from "./difference.js";
import { errors } from "./errors.js";
import { listed, more, moreLines, reload } from "./list.js";
import { timeline } from "./log.js";
import { versionTable } from "./table.js";

const COLUMNS = 6;
let ticked = [];

export const view = {
  title: "Versions",
  needs: "nothing",

  open({ query }) {
    ticked = (query.get("compare")?.split(",") ?? []).filter(Boolean).slice(0, 2);
    reload(); // a retrain that made nothing live has told nobody of its version
  },

  close: forgetActivation,

  render() {
    const found = listed();
    if (!found.versions) return found.fault ? problem(found.fault, reload) : loading("the versions", 500);
    if (!found.versions.length) return empty("No version yet", "Nothing has been learned here.", "orchard train YOUR.csv");
    const crops = same("crops of versions", [found.versions], () => [...new Set(found.versions.flatMap((entry) => entry.crops ?? []))]);
    return html`
      ${found.fault ? problem(found.fault, reload) : nothing}
      ${activated()}
      ${errors(found.versions, crops)}
      <section class="card"><h2>All of them, newest first</h2>
        ${crops.length > COLUMNS ? html`<p class="fine">Errors of the first ${COLUMNS} of ${crops.length} crops; a version has those of all.</p>` : nothing}
        ${versionTable({ versions: found.versions, crops: crops.slice(0, COLUMNS), ticked, tick, activate: openActivation })}
        ${found.next === null ? nothing : html`<button type="button" class="secondary outline older" @click=${more}>Older versions</button>`}
        <p class="fine" role="status">${ticked.length === 0 ? "Tick two to see what sets them apart." : ticked.length === 1 ? `Version ${ticked[0]} is ticked: tick another one.` : nothing}</p>
        ${curlOf(curl("GET", "models"))}
      </section>
      ${compared()}
      ${timeline(found, moreLines)}
      ${activationDialog()}`;
  },
};

function compared() {
  if (ticked.length < 2) return nothing;
  const [one, other] = ticked.toSorted((first, second) => Number(first) - Number(second));
  return html`<section class="card" id="difference"><h2>Version ${other} against version ${one}</h2>
    <p class="fine"><a href=${link("model", [one])}>Version ${one}</a> · <a href=${link("model", [other])}>Version ${other}</a> · <button type="button" class="link" @click=${() => mark([])}>Compare others</button></p>
    ${difference(one, other, "difference")}</section>`;
}

/** Tick or untick a version; a third one takes the place of the one that was ticked first. */
function tick(version) {
  mark(ticked.includes(version) ? ticked.filter((each) => each !== version) : [...ticked, version].slice(-2));
}

function mark(next) {
  ticked = next;
  if (here().view === "versions") note("versions", [], { compare: ticked.join(",") });
  changed();
}
