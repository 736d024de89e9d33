// A question before something is done that others will see, with a note for the records.

import { html, nothing } from "../lit.js";
import { faults } from "../faults.js";
import { changed } from "../session.js";

let asking = null;
let isBusy = false;
let fault = null;

const dialog = () => document.querySelector("#teach-confirm");

/**
 * Ask; `text`: what it means. `actions`: `[label, run(note)]`, of which one is chosen or none; it closes when `run` is done.
 */
export async function confirm({ title, text, actions }) {
  asking = { title, text, actions };
  fault = null;
  changed();
  dialog().showModal();
}

/** Return the dialog, closed until something is asked. */
export const confirmDialog = () => html`<dialog id="teach-confirm" aria-labelledby="teach-confirm-title">
  ${asking ? html`<article>
    <h2 id="teach-confirm-title">${asking.title}</h2>
    ${asking.text.map((sentence) => html`<p>${sentence}</p>`)}
    <form @submit=${(event) => event.preventDefault()}>
      <label for="teach-confirm-note">Why <small>for the records</small></label>
      <input id="teach-confirm-note" name="note" type="text" maxlength="1000" autocomplete="off">
      ${fault ? faults(fault) : nothing}
      <footer class="actions">
        <button type="button" class="secondary outline" @click=${() => dialog().close()}>Cancel</button>
        ${asking.actions.map(([label, run], place) => html`<button type="button" class=${place ? "secondary" : nothing} ?disabled=${isBusy} @click=${() => act(run)}>${label}</button>`)}
      </footer>
    </form>
  </article>` : nothing}
</dialog>`;

async function act(run) {
  const field = dialog().querySelector("input");
  isBusy = true;
  fault = null;
  changed();
  try {
    await run(field.value.trim());
    field.value = "";
    dialog().close();
  } catch (error) {
    fault = error;
  }
  isBusy = false;
  changed();
}
