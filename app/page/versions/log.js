// What was live when, who made it so, and why.

import { link } from "../address.js";
import { html, nothing } from "../lit.js";
import { moment } from "../numbers.js";

/** Return the log as a timeline, newest first; `more`: called for older lines. */
export const timeline = ({ log, nextLine }, more) => html`<section class="card"><h2>What was live, and when</h2>
  ${log.length ? html`<ol class="timeline">${log.map((line, place) => html`<li class=${place === 0 ? "now" : nothing}>
    <p><strong>Version <a href=${link("model", [line.version])}>${line.version}</a></strong> <span class="fine"><time datetime=${line.when}>${moment(line.when)}</time> · ${line.who}</span></p>
    <p>${line.why || html`<span class="fine">no reason given</span>`}</p></li>`)}</ol>` : html`<p class="needed">Nothing has been live yet.</p>`}
  ${nextLine === null ? nothing : html`<button type="button" class="secondary outline older" @click=${more}>Older lines</button>`}
</section>`;
