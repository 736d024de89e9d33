// What several views are put together from, above all the states in which they have nothing else to show.

import { html, live, nothing } from "./lit.js";
import { session } from "./session.js";

/** Nothing is there yet, it is on its way; `height`: the place that is reserved for it, px. */
export const loading = (what, height = 220) =>
  html`<div class="loading" aria-busy="true" .style=${`min-height:${height}px`}>Loading ${what} …</div>`;

/** There is nothing to show: say why, and what to do next; `command`: as one types it. */
export const empty = (title, text, command) =>
  html`<section class="empty"><h2>${title}</h2><p>${text}</p>${command ? code(command) : nothing}</section>`;

/** The service could not do what was asked: its words, its code, the request's id, and another try. */
export const problem = (error, retry) =>
  html`<section class="problem" role="alert">
    <h2>${error.code === "offline" ? "No answer" : "That did not work"}</h2>
    <p>${error.detail ?? String(error)}</p>
    ${error.errors?.length ? html`<ul>${error.errors.slice(0, 10).map((one) => html`<li>${placeOf(one)}${one.message}</li>`)}</ul>` : nothing}
    <p class="fine">
      <code>${error.code ?? "error"}</code>${error.requestId ? html` · request <code>${error.requestId}</code>` : nothing}
      ${error.retryAfter ? html` · try again in ${error.retryAfter} s` : nothing}
    </p>
    ${retry ? html`<button type="button" class="secondary" @click=${retry}>Try again</button>` : nothing}
  </section>`;

const placeOf = (fault) => (fault.loc?.length ? html`<code>${fault.loc.join(" › ")}</code> ` : nothing);

/** What regions reported is not for everyone: one sentence and a button. */
export const tokenNeeded = (what) =>
  html`<p class="needed">${what} needs a token. <button type="button" class="link" data-opens="token">Give one</button></p>`;

/** It was drawn by a version that is no longer live. */
export const stale = (drawnBy, redraw) => {
  const live = session.ready?.model_version;
  if (!drawnBy || !live || drawnBy === live) return nothing;
  return html`<p class="banner" role="status">Drawn by version ${drawnBy}; version ${live} is live.
    <button type="button" class="link" @click=${redraw}>Redraw</button></p>`;
};

/** A choice of one of several names; `choose(name)` is told of it. */
export const select = (label, names, chosen, choose) => html`<label>${label}
  <select @change=${(event) => choose(event.target.value)}>${names.map((name) => html`<option ?selected=${name === chosen}>${name}</option>`)}</select></label>`;

/** A choice that is seen at once: `choices` are `[value, words]`, `choose(value)` is told; `isUnseen`: the legend is for screen readers. */
export const radios = ({ name, legend, isUnseen = false, choices, chosen, choose }) => html`<fieldset><legend class=${isUnseen ? "unseen" : nothing}>${legend}</legend>
  <div class="choices">${choices.map(([value, words]) => html`<label><input type="radio" name=${name} value=${value} .checked=${live(value === chosen)} @change=${() => choose(value)}>${words}</label>`)}</div></fieldset>`;

/** The service does not answer: what is seen is from before. */
export const offline = () =>
  session.offlineSince
    ? html`<p class="banner bad" role="status">No answer from the service since ${session.offlineSince.toLocaleTimeString("en-GB", { timeStyle: "short" })}: what is seen is from before.
        It is asked again every few seconds.</p>`
    : nothing;

/** A command or an address, to be copied. */
const code = (text) =>
  html`<div class="code"><pre tabindex="0"><code>${text}</code></pre>
    <button type="button" class="copy" @click=${({ target }) => copy(target, text, () => selected(target))}>Copy</button></div>`;

function selected(button) {
  getSelection().selectAllChildren(button.previousElementSibling);
  return "Selected";
}

/** Copy a text and have the button say so for a while; `byHand()`: what it says where the clipboard is closed, as without https. */
export async function copy(button, text, byHand) {
  const name = (button.dataset.name ??= button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = byHand();
  }
  setTimeout(() => (button.textContent = name), 1_500);
}

/** The call behind what is seen. */
export const curlOf = (command) =>
  html`<details class="numbers"><summary>The call behind this</summary>${code(command)}</details>`;

/** Save text or bytes as a file. */
export function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
