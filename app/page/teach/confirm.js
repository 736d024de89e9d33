// A question before something is done that others will see, where that is filed with a note for the records.

import { html, nothing } from "../lit.js";
import { faults } from "../faults.js";
import { changed } from "../session.js";

let asking = null;
let isBusy = false;
let fault = null;

const dialog = () => document.querySelector("#confirm");

/**
 * Ask; `text`: what it means. `actions`: `[label, run(note)]`, of which one is chosen or none; it closes when `run` is done.
 * `hasNote`: whether there is a field for one.
 */
export function confirm({ title, text, actions, hasNote = true }) {
  asking = { title, text, actions, hasNote };
  fault = null;
  changed();
  // It is drawn with the next frame: shown then, it has a field for the focus.
  requestAnimationFrame(() => dialog()?.showModal());
}

/** Forget the question, and with its fields what was typed into them. */
function closed() {
  asking = null;
  changed();
}

/** Return the dialog, closed until something is asked. */
export const confirmDialog = () => html`<dialog id="confirm" aria-labelledby="confirm-title" @close=${closed}>
  ${asking ? html`<article>
    <h2 id="confirm-title">${asking.title}</h2>
    ${asking.text.map((sentence) => html`<p>${sentence}</p>`)}
    <form @submit=${(event) => event.preventDefault()}>
      ${asking.hasNote ? html`<label for="confirm-note">Why <small>for the records</small></label>
        <input id="confirm-note" name="note" type="text" maxlength="1000" autocomplete="off">` : nothing}
      ${fault ? faults(fault) : nothing}
      <footer class="actions">
        <button type="button" class="secondary outline" @click=${() => dialog().close()}>Cancel</button>
        ${asking.actions.map(([label, run], place) => html`<button type="button" class=${place ? "secondary" : nothing} ?disabled=${isBusy} @click=${() => act(run)}>${label}</button>`)}
      </footer>
    </form>
  </article>` : nothing}
</dialog>`;

async function act(run) {
  const mine = asking;
  const note = dialog().querySelector("input")?.value.trim() ?? "";
  isBusy = true;
  fault = null;
  changed();
  try {
    await run(note);
    // The view may have been left meanwhile, or something else be asked.
    if (mine === asking) dialog()?.close();
  } catch (error) {
    if (mine === asking) fault = error;
  }
  isBusy = false;
  changed();
}
