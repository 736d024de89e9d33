// The yields of the weather that is asked about: a number with its interval, and what it is made of.

import { colourOf } from "../figures.js";
import { html, nothing } from "../lit.js";
import { decimals, interval, rounded, signed } from "../numbers.js";

/** Return a card for each crop; `pinned`: whether there is a weather to compare with. */
export const answers = (drawn, crops, level, isPinned) =>
  html`<div class="answers">${crops.map((crop) => card(crop, drawn, level, isPinned))}</div>`;

function card(crop, drawn, level, isPinned) {
  const now = drawn.point[crop];
  const then = drawn.pinned[crop];
  const { tons, low, high } = interval(now);
  const places = decimals(now.high === null ? NaN : (now.high - now.low) / 2);
  return html`<section class="card answer" .style=${`--crop:${colourOf(drawn.crops, crop)}`}>
    <h2><span class="swatch" aria-hidden="true"></span>${crop}</h2>
    <p class="yield"><strong>${tons} t</strong> ${low === null ? html`<span>no interval: too few rows</span>` : html`<span>${low} to ${high} <small>${100 * level}%</small></span>`}</p>
    ${isPinned ? html`<p class="against"><span class="mark">A</span> ${interval(then).tons} t ${then.low === null ? nothing : html`(${interval(then).low} to ${interval(then).high})`}
      <strong>${signed(now.tons - then.tons, places)} t</strong></p>` : nothing}
    ${parts(now, places)}
  </section>`;
}

/** What a yield is made of: the mean of training, and what each feature adds to it. */
function parts({ baseline, parts: contributions, tons, low, high }, places) {
  if (baseline === undefined) return nothing;
  // What is small beside the interval is drawn small.
  const most = Math.max(...contributions.map(([, value]) => Math.abs(value)), high - low || Number.EPSILON);
  const sum = contributions.reduce((total, [, value]) => total + value, baseline);
  return html`<dl class="parts">
    <dt>mean of training</dt><dd>${rounded(baseline, places)}</dd>
    ${contributions.map(
      ([name, value]) => html`<dt>${name}</dt>
        <dd><span class="bar ${value < 0 ? "less" : "more"}" aria-hidden="true" .style=${`--size:${(50 * Math.abs(value)) / most}%`}></span>${signed(value, places)}</dd>`,
    )}
    ${sum < 0 && tons === 0 ? html`<dt>cannot be below</dt><dd>0</dd>` : nothing}
  </dl>`;
}
