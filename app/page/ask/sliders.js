// The weather that is asked about: a slider and a number for each feature, side by side.

import { html, live, nothing } from "../lit.js";
import { radios } from "../pieces.js";
import { changed } from "../session.js";
import { shown, step, stored, unit, written } from "../units.js";
import { BOUNDS } from "./grid.js";

const NAMES = { temperature: "Temperature", rainfall: "Rainfall", humidity: "Humidity" };
const MEANING = { temperature: "average over the season", rainfall: "total over the season", humidity: "average, relative" };
/** Degrees of confidence that intervals may have. */
export const LEVELS = [0.5, 0.8, 0.95, 0.99];

/** What was typed into a number's field, by feature and unit: it stands there as it was typed while it is the weather that is asked. */
const typed = new Map();
const placeOf = (feature) => `${feature} ${unit(feature)}`;

/** Forget what was typed: another address was opened. */
export const forgetTyped = () => typed.clear();

/** Return the text of a number's field: while somebody types there, nothing else is put in its place. */
function textOf(feature, value) {
  const text = typed.get(placeOf(feature));
  const isTyping = document.activeElement?.dataset?.feature === feature;
  return text !== undefined && (isTyping || faultOf(feature) || stored(feature, numberOf(text)) === value) ? text : written(feature, value);
}

/** Return the number that a text is, with a decimal point or a comma; NaN where it is none. */
const numberOf = (text) => (text.trim() === "" ? NaN : Number(text.trim().replace(",", ".").replace("−", "-")));

/** Return what is wrong with what was typed for a feature, null where nothing is. */
function faultOf(feature) {
  const text = typed.get(placeOf(feature));
  if (text === undefined) return null;
  const [least, most] = BOUNDS[feature] ?? [-Infinity, Infinity];
  const value = stored(feature, numberOf(text));
  if (Number.isNaN(value)) return "is no number";
  return value < least || value > most ? `is not between ${written(feature, least)} and ${written(feature, most)} ${unit(feature)}` : null;
}

/** Return the sliders; `move(feature, value)` is told of each change, in the service's units. */
export const sliders = ({ weather, reach, move }) =>
  Object.entries(reach).map(([feature, { low, high, from, to }]) => {
    const at = (value) => `${(100 * (value - from)) / (to - from)}%`;
    const isOutside = weather[feature] < low || weather[feature] > high;
    const slid = (event) => {
      typed.delete(placeOf(feature));
      move(feature, stored(feature, event.target.valueAsNumber));
    };
    const named = (event) => {
      typed.set(placeOf(feature), event.target.value);
      if (faultOf(feature)) changed();
      else move(feature, stored(feature, numberOf(event.target.value)));
    };
    const fault = document.activeElement?.dataset?.feature === feature ? null : faultOf(feature);
    const range = `${written(feature, low)} to ${written(feature, high)} ${unit(feature)}`;
    return html`<fieldset class="feature" .style=${`--low:${at(low)};--high:${at(high)}`}>
      <legend>${NAMES[feature] ?? feature} <small>${MEANING[feature] ?? nothing}</small></legend>
      <div class="pair">
        <input type="range" aria-label=${`${NAMES[feature] ?? feature}, slider`} min=${shown(feature, from)} max=${shown(feature, to)} step="any"
          aria-valuetext=${`${written(feature, weather[feature])} ${unit(feature)}${isOutside ? ", outside training" : ""}`}
          .value=${live(String(shown(feature, weather[feature])))} @input=${slid} @keydown=${(event) => byKey(event, feature, weather, { from, to }, move)}>
        <label><input type="text" aria-label=${`${NAMES[feature] ?? feature} in ${unit(feature)}`} inputmode="decimal" autocomplete="off" aria-invalid=${fault ? "true" : nothing}
          data-feature=${feature} .value=${live(textOf(feature, weather[feature]))} @input=${(event) => typed.set(placeOf(feature), event.target.value)} @change=${named} @blur=${() => changed()}><span aria-hidden="true">${unit(feature)}</span></label>
      </div>
      <p class="fine ${isOutside || fault ? "outside" : ""}">${fault ? html`<strong>${typed.get(placeOf(feature))} ${fault}</strong>` : isOutside ? html`<strong>outside training</strong>, which had ${range}` : html`training had ${range}`}</p>
    </fieldset>`;
  });

/** Move by whole steps: without, a key would move a slider of any step by a hundredth of its length. */
function byKey(event, feature, weather, { from, to }, move) {
  const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  if (!by) return;
  event.preventDefault();
  typed.delete(placeOf(feature));
  const value = stored(feature, shown(feature, weather[feature]) + by * step(feature));
  move(feature, Math.min(to, Math.max(from, value)));
}

/** Return the choice of how sure intervals are to be. */
export const levels = (level, choose) => radios({ name: "level", legend: "Interval", choices: LEVELS.map((each) => [each, `${100 * each}%`]), chosen: level, choose });
