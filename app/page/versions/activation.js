// Making a version live: what changes is shown, and why is asked, since it is kept in the log.

import { html, nothing } from "../lit.js";
import { cardOf } from "../model/cards.js";
import { problem } from "../pieces.js";
import { activate, changed, session } from "../session.js";
import { difference } from "./difference.js";
import { reload } from "./list.js";
import { reasons } from "./table.js";

const LONGEST = 1_000;
let wanted = null;
let fault = null;
let isBusy = false;
let done = null;

const dialog = () => document.querySelector("#activate-dialog");

/** Open the dialog for a version. */
export function openActivation(version) {
  wanted = version;
  fault = done = null;
  changed();
  // It is drawn with the next frame, and must stand there before it is shown.
  requestAnimationFrame(() => dialog()?.showModal());
}

/** Say which version was made live here, until the view is left. */
export const activated = () => (done && done === session.ready?.model_version ? html`<p class="banner good" role="status">Version ${done} is live now.</p>` : nothing);
/** Forget that. */
export function forgetActivation() {
  wanted = done = fault = null;
}

/** Return the dialog, closed until it is opened. */
export function activationDialog() {
  const current = session.ready?.model_version ?? null;
  return html`<dialog id="activate-dialog" class="wide" aria-labelledby="activate-title" @close=${closed}><article>
    ${wanted === null ? html`<h2 id="activate-title">Make live</h2>` : html`
      <h2 id="activate-title">Make version ${wanted} live</h2>
      <p>${current === null ? "Nothing is live now." : wanted === current ? `Version ${wanted} is live.` : `From then on it answers, instead of version ${current}. Nothing is lost: any version can be made live again.`}</p>
      ${cardOf(wanted).card?.decision === "rejected" ? html`<div class="banner bad"><strong>The gate has rejected it:</strong> ${reasons(wanted)}</div>` : nothing}
      ${session.access?.write ? form() : html`<p class="needed">Making a version live needs a token that may write. <button type="button" class="link" data-opens="token">Give one</button></p>
        <footer class="actions"><button type="button" class="secondary" @click=${() => dialog().close()}>Cancel</button></footer>`}
      ${current !== null && wanted !== current ? html`<section class="against-live" aria-label="What changes"><h3>Against the live version ${current}</h3>${difference(current, wanted, "activate")}</section>` : nothing}`}
  </article></dialog>`;
}

const form = () => html`<form @submit=${submit}>
  <label for="activate-note">Why <small>it is kept in the log</small></label>
  <textarea id="activate-note" name="note" rows="2" maxlength=${LONGEST} required></textarea>
  ${fault ? problem(fault) : nothing}
  <footer class="actions">
    <button type="button" class="secondary" @click=${() => dialog().close()}>Cancel</button>
    <button type="submit" aria-busy=${isBusy ? "true" : nothing} ?disabled=${isBusy}>Make version ${wanted} live</button>
  </footer>
</form>`;

function closed() {
  wanted = null;
  changed();
}

async function submit(event) {
  event.preventDefault();
  const asked = event.target;
  const version = wanted;
  fault = null;
  isBusy = true;
  changed();
  try {
    await activate(version, new FormData(asked).get("note").trim());
    reload();
    asked.reset();
    done = version;
    dialog()?.close();
  } catch (error) {
    fault = error;
  }
  isBusy = false;
  changed();
}
