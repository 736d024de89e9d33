// What if: the weather is moved, and the yields follow.

import { here, note } from "../address.js";
import { Problem, call, curl } from "../calls.js";
import { html, live, nothing } from "../lit.js";
import { copy, curlOf, download, loading, problem, stale, tokenNeeded } from "../pieces.js";
import { changed, look, session } from "../session.js";
import { shown, shownQuery, unit, written } from "../units.js";
import { answers } from "./answers.js";
import { contour, forgetContour } from "./contour.js";
import { curves } from "./curves.js";
import { BOUNDS, box, question, sorted } from "./grid.js";
import { observed } from "./observed.js";
import { regions } from "./regions.js";
import { LEVELS, forgetTyped, levels, sliders } from "./sliders.js";

const QUIET_MS = 500;
const AT_FIRST = 3;

/** What is asked: weather in the service's units, and what it is compared with. */
const asked = { weather: null, pinned: null, level: 0.95, region: "", crops: null };
/** The region's name while it is typed. */
let typedRegion = null;
/** What was answered: of the newest question that has an answer. */
let drawn = null;
let fault = null;
let said = [];
let timer = null;
let flying = null;
let isBehind = false;
let isStill = true;
let sought = null;

export const view = {
  title: "What if",
  needs: "model",

  open({ query }) {
    read(query);
    forgetTyped();
    preparedFor = {};
    if (session.live) prepare();
  },

  close() {
    flying?.abort();
    forgetContour();
  },

  render() {
    prepare();
    const reach = box(session.live, asked.weather);
    const chosen = chosenCrops();
    // For a moment an answer may be another version's than the card: what only one of them has is left out.
    const crops = drawn ? chosen.filter((crop) => drawn.crops.includes(crop)) : chosen;
    const points = observed();
    return html`
      ${stale(drawn?.version, askNow)}
      <div class="ask">
        <div class="controls">
          <section class="card">
            <h2 class="unseen">Weather</h2>
            ${sliders({ weather: asked.weather, reach, move })}
            ${absent()}
            ${levels(asked.level, choose("level"))}
            <label>Region
              <input type="text" maxlength="200" placeholder="any" aria-describedby="region-help" .value=${live(typedRegion ?? asked.region)}
                @input=${(event) => (typedRegion = event.target.value)} @change=${nameRegion}></label>
            <small id="region-help" class="help">One that training knows is predicted with what it has of its own.</small>
            ${cropChoice(chosen)}
          </section>
          <div class="actions">
            <button type="button" class="secondary outline" @click=${pin}>${asked.pinned ? "Keep this as A instead" : "Keep as A"}</button>
            ${asked.pinned ? html`<button type="button" class="secondary outline" @click=${unpin}>Forget A</button>` : nothing}
          </div>
        </div>
        <div class="results">
          ${fault ? problem(fault, askNow) : nothing}
          <div role="status" aria-live="polite" class="warnings">${said.map((warning) => html`<p class="banner">${warning}</p>`)}</div>
          ${drawn ? html`
            ${answers(drawn, crops, drawn.level, asked.pinned !== null)}
            ${asked.pinned ? html`<p class="fine"><span class="mark">A</span> ${words(asked.pinned)}</p>` : nothing}
            ${curves(drawn, crops, { ...asked, reach, points })}
            <p class="fine">Band: ${100 * drawn.level}% interval. Shaded and dashed: outside training.
              ${points ? `Dots: reported yields${asked.region ? `, rings: those of ${asked.region}` : ""}.` : nothing}</p>
            ${session.access?.rows ? nothing : tokenNeeded("Seeing what regions reported beside the curves")}
          ` : fault ? nothing : loading("the yields", 500)}
        </div>
      </div>
      ${drawn ? html`<div class="below">
        ${contour({ ...asked, reach, crops, points, isStill })}
        <section class="card share">
          <h2>Take it with you</h2>
          <div class="actions">
            <button type="button" class="secondary outline" @click=${copyLink}>Copy the link</button>
            <button type="button" class="secondary outline" @click=${saveCSV}>Curves as CSV</button>
            <button type="button" class="secondary outline" @click=${() => print()}>Print</button>
          </div>
          ${curlOf(curl("POST", "predict", { query: asked.level === 0.95 ? {} : { level: asked.level }, body: { ...(asked.region ? { region: asked.region } : {}), ...asked.weather } }))}
        </section></div>` : nothing}
      ${regions({ level: asked.level })}
    `;
  },
};

/** Take from the address what it says; what is not a number is passed over. */
function read(query) {
  const given = Object.fromEntries([...query].filter(([name, value]) => value && Number.isFinite(Number(value)) && name !== "level"));
  asked.weather = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, Number(value)]));
  const a = query.get("a")?.split(",").map(Number);
  asked.pinned = a?.every(Number.isFinite) ? a : null;
  asked.level = LEVELS.find((level) => level === Number(query.get("level"))) ?? 0.95;
  asked.region = query.get("region") ?? "";
  asked.crops = query.has("crops") ? query.getAll("crops") : null;
}

/** The card and the units that were asked for last. */
let preparedFor = {};

/** Complete what the address left out by what the live version knows, and ask; once for each version, and for the units its words are in. */
function prepare() {
  const { live: card, units } = session;
  if (preparedFor.card === card && preparedFor.units === units && isComplete(card)) return;
  preparedFor = { card, units };
  const reach = box(card);
  const isWeather = (feature, value) => Number.isFinite(value) && value >= BOUNDS[feature][0] && value <= BOUNDS[feature][1];
  const whole = (given, otherwise) =>
    Object.fromEntries(Object.keys(reach).map((feature) => [feature, isWeather(feature, given[feature]) ? given[feature] : otherwise(feature)]));
  asked.weather = whole(asked.weather ?? {}, (feature) => tidy(reach[feature].mean));
  if (Array.isArray(asked.pinned)) asked.pinned = whole(Object.fromEntries(Object.keys(reach).map((feature, place) => [feature, asked.pinned[place]])), (feature) => reach[feature].mean);
  askNow();
}

const isComplete = (card) => Object.keys(box(card)).every((feature) => Number.isFinite(asked.weather?.[feature])) && !Array.isArray(asked.pinned);
const tidy = (value) => Math.round(value * 10) / 10;

function chosenCrops() {
  const all = Object.keys(session.live.crops);
  const known = asked.crops?.filter((crop) => all.includes(crop));
  return known?.length ? known : all.slice(0, AT_FIRST);
}

function move(feature, value) {
  asked.weather = { ...asked.weather, [feature]: value };
  askNow();
}

function nameRegion(event) {
  typedRegion = null;
  choose("region")(event.target.value.trim());
}

const choose = (name) => (value) => {
  asked[name] = value;
  askNow();
};

function pin() {
  asked.pinned = asked.weather;
  askNow();
}

function unpin() {
  asked.pinned = null;
  askNow();
}

/**
 * Ask about what is seen. One question is on its way at a time, and the newest one follows it: a question that is given
 * up costs its connection, which takes longer than its answer.
 */
async function askNow() {
  isStill = false;
  changed();
  if (flying) {
    isBehind = true;
    return;
  }
  flying = new AbortController();
  try {
    do {
      isBehind = false;
      const asks = question(asked.weather, asked.pinned, box(session.live, asked.weather));
      const body = Object.fromEntries(asks.features.map((feature) => [feature, asks.columns[feature].map((value) => shown(feature, value))]));
      if (asked.region) body.region = body[asks.features[0]].map(() => asked.region);
      const { level } = asked;
      const answer = await call("POST", "predict", { query: { level, explain: true, count: false, ...shownQuery() }, body, signal: flying.signal });
      drawn = { ...sorted(answer, asks), level };
      fault = null;
      seek(drawn.version);
      changed();
    } while (isBehind);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    fault = error;
  } finally {
    flying = null;
    changed();
    whenQuiet();
  }
}

/** Where another version answers than the one whose card is here, ask for its card: once, not with each answer. */
function seek(version) {
  if (version === session.live.version || version === sought) return;
  sought = version;
  look(true);
}

/** Say the service's warnings, and have the address hold what is seen, once nothing moves any more. */
function whenQuiet() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    isStill = true;
    said = drawn?.warnings ?? [];
    if (here().view === "ask") note("ask", [], parameters());
    changed();
  }, QUIET_MS);
}

function parameters() {
  const numbers = Object.fromEntries(Object.entries(asked.weather).map(([feature, value]) => [feature, Number(value.toFixed(3))]));
  return {
    ...numbers,
    level: asked.level === 0.95 ? "" : asked.level,
    region: asked.region,
    crops: asked.crops,
    a: asked.pinned ? Object.values(asked.pinned).map((value) => Number(value.toFixed(3))).join(",") : "",
  };
}

const words = (weather) => Object.entries(weather).map(([feature, value]) => `${feature} ${written(feature, value)} ${unit(feature)}`).join(", ");

function absent() {
  const names = session.live.features.filter((feature) => feature.minimum === null).map((feature) => feature.name);
  return names.length ? html`<p class="fine">Without ${names.join(" and ")}: training had none.</p>` : nothing;
}

function cropChoice(crops) {
  const all = Object.keys(session.live.crops);
  if (all.length <= 1) return nothing;
  const toggle = (crop) => () => {
    const next = crops.includes(crop) ? crops.filter((each) => each !== crop) : all.filter((each) => each === crop || crops.includes(each));
    if (next.length) asked.crops = next;
    whenQuiet();
    changed();
  };
  return html`<fieldset><legend>Crops</legend>
    <div class="choices">${all.map((crop) => html`<label><input type="checkbox" .checked=${live(crops.includes(crop))} @change=${toggle(crop)}>${crop}</label>`)}</div></fieldset>`;
}

function copyLink({ target }) {
  note("ask", [], parameters());
  copy(target, location.href, () => "It is in the address bar");
}

function saveCSV() {
  const rows = Object.entries(drawn.curves).flatMap(([crop, of]) =>
    Object.entries(of).flatMap(([feature, line]) => line.map(({ x, tons, low, high, isOutside }) => ({ ...asked.weather, [feature]: x, crop, tons, low, high, extrapolated: isOutside }))),
  );
  download(`what-if-version-${drawn.version}.csv`, d3.csvFormat(rows), "text/csv");
}
