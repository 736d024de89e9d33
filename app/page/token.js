// Where a person gives a token: in a dialog, or on the page where reading needs one.

import { html, nothing } from "./lit.js";
import { changed, signIn } from "./session.js";

let fault = null;
let isBusy = false;

const dialog = () => document.querySelector("#token-dialog");

/** Open the dialog that asks for a token. */
export function openToken() {
  fault = null;
  changed();
  dialog().showModal();
}

// Whatever asks for a token says so by an attribute: it need not know this file.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-opens=token]")) openToken();
});

/** Return the dialog, closed until it is opened. */
export const tokenDialog = () => html`<dialog id="token-dialog" aria-labelledby="token-title">
  <article>
    <h2 id="token-title">A token</h2>
    ${form("token-in-dialog", () => dialog().close())}
  </article>
</dialog>`;

/** Return the form as it stands on a page of which nothing else can be seen. */
export const tokenForm = (why) => html`<section class="alone card"><p>${why}</p>${form("token-on-page")}</section>`;

const form = (id, close) => html`<form @submit=${(event) => submit(event, close)}>
  <label for=${id}>Token</label>
  <input id=${id} name="token" type="password" autocomplete="off" spellcheck="false" required
    aria-describedby="${id}-help" aria-invalid=${fault ? "true" : nothing}>
  <small id="${id}-help">${fault ?? html`The one of this machine is in the file <code>token</code> of the model store.`}</small>
  <label><input type="checkbox" name="keep"> Keep it for this tab</label>
  <p class="fine">Else it is forgotten when the page is left. It is sent to this service alone, and never put into an address or a cookie.</p>
  <footer class="actions">
    ${close ? html`<button type="button" class="secondary" @click=${close}>Cancel</button>` : nothing}
    <button type="submit" aria-busy=${isBusy ? "true" : nothing}>Use it</button>
  </footer>
</form>`;

async function submit(event, close) {
  event.preventDefault();
  const asked = event.target;
  const given = new FormData(asked);
  fault = null;
  isBusy = true;
  changed();
  try {
    await signIn(given.get("token").trim(), given.get("keep") !== null);
    asked.reset();
    close?.();
  } catch (error) {
    fault = error.detail ?? error.message;
  }
  isBusy = false;
  changed();
}
