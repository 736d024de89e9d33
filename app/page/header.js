// The head of the page: its name, what is live, the views, units, theme and token.

import { link } from "./address.js";
import { html, live, nothing } from "./lit.js";
import { day, moment } from "./numbers.js";
import { chooseTheme, chooseUnit, session, signOut } from "./session.js";
import { CHOICES } from "./units.js";
import { openToken } from "./token.js";

const NAMES = { temperature: "Temperature", rainfall: "Rainfall" };
const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };

/** Return it; `current`: the name of the view that is open. */
export const header = (views, current) => html`<header class="top">
  <div class="name"><a href="#/ask"><img src=${new URL("icon.svg", import.meta.url).pathname} alt="" width="28" height="28">Orchard</a> ${chip()}</div>
  <nav aria-label="Views">
    <ul>${Object.entries(views).map(([name, view]) => html`<li><a href=${link(name)} aria-current=${name === current ? "page" : nothing}>${view.name}</a></li>`)}</ul>
  </nav>
  <div class="tools">${units()} ${theme()} ${token()}</div>
</header>`;

/** What is live and how it is: a word, not only a colour, with details. */
function chip() {
  const { ready, live: card, activation, offlineSince } = session;
  if (ready === null) return html`<span class="chip">…</span>`;
  const state = offlineSince ? "no answer" : ready.details.length && ready.status === "ready" ? "ready, with remarks" : ready.status;
  const since = activation && card ? ` · live since ${day(activation.when)}` : "";
  const kind = offlineSince || ready.status !== "ready" ? "bad" : ready.details.length ? "warn" : "good";
  return html`<details class="chip ${kind}">
    <summary>${ready.model_version ? `version ${ready.model_version}${since} · ` : ""}${state}</summary>
    <div class="more">
      <dl>
        ${ready.source ? html`<dt>Learned from</dt><dd>${ready.source}</dd>` : nothing}
        ${activation && card ? html`<dt>Made live</dt><dd>${moment(activation.when)} by ${activation.who}${activation.why ? html`: ${activation.why}` : nothing}</dd>` : nothing}
        <dt>State</dt><dd>${ready.details.length ? html`<ul>${ready.details.map((detail) => html`<li>${detail}</li>`)}</ul>` : ready.status}</dd>
      </dl>
      <p class="fine"><a href="health/ready">/health/ready</a> · <a href="docs">API documentation</a></p>
    </div>
  </details>`;
}

const units = () =>
  Object.entries(CHOICES).map(
    ([feature, choices]) => html`<label><span class="unseen">${NAMES[feature]} in</span>
      <select .value=${live(session.units[feature])} @change=${(event) => chooseUnit(feature, event.target.value)}>
        ${choices.map((unit) => html`<option value=${unit} ?selected=${unit === session.units[feature]}>${unit}</option>`)}
      </select></label>`,
  );

const theme = () => html`<label><span class="unseen">Theme</span>
  <select .value=${live(session.theme)} @change=${(event) => chooseTheme(event.target.value)}>
    ${Object.entries(THEMES).map(([value, name]) => html`<option value=${value} ?selected=${value === session.theme}>${name}</option>`)}
  </select></label>`;

function token() {
  const { access } = session;
  if (!access?.who && !access?.rows) return html`<button type="button" class="secondary outline" @click=${openToken}>Reading only</button>`;
  return html`<details class="who"><summary>${access.write ? (access.who === "token" ? "Writing" : `Writing as ${access.who}`) : "Reading with a token"}</summary>
    <div class="more"><p>The token is kept in this page alone.</p><button type="button" class="secondary" @click=${signOut}>Forget the token</button></div>
  </details>`;
}
