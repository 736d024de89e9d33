// A table of regions, predicted at once: as a table to sort, and to take away as it came.

import { here, link } from "../address.js";
import { Problem, callText } from "../calls.js";
import { CSV, GEOJSON, dropZone, inStored, meaning, unitChoice, unitQuery } from "../drop.js";
import { faults } from "../faults.js";
import { scrolling } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, interval } from "../numbers.js";
import { download, stale } from "../pieces.js";
import { changed, session } from "../session.js";
import { named, written } from "../units.js";
import { box } from "./grid.js";

const MOST_ROWS = 200;
const brought = { table: null, units: {} };
/** What was answered: `{version, level, rows, crops, features, map}`. */
let drawn = null;
let fault = null;
let flying = null;
let askedAt = null;
const order = { by: null, isDown: false };

/** Return the panel; `level`: of the intervals. */
export function regions({ level }) {
  const { table, units } = brought;
  if (table && askedAt !== level) askAll(level);
  const choose = (feature, unit) => {
    brought.units = { ...units, [feature]: unit };
    askAll(level);
  };
  return html`<section class="card" id="regions" aria-labelledby="regions-title" aria-busy=${flying ? "true" : "false"}>
    <div class="title"><h2 id="regions-title">Many regions at once</h2>
      ${table ? html`<button type="button" class="secondary outline" @click=${() => bring(null)}>Another table</button>` : nothing}</div>
    ${table ? html`<p class="fine">${table.name}</p>${unitChoice({ id: "regions", table, units, choose })}`
      : dropZone({ id: "regions-file", title: "Drop a table of regions here, or choose one", hint: "CSV, a workbook (.xlsx) or GeoJSON with the weather of each region. It is predicted, and not stored.", take: bring })}
    ${fault ? faults(fault, () => askAll(level)) : nothing}
    ${drawn && !fault ? answer() : nothing}
    ${flying && !drawn ? html`<progress aria-label="predicting"></progress>` : nothing}
  </section>`;
}

function bring(table) {
  flying?.abort();
  Object.assign(brought, { table, units: {} });
  Object.assign(order, { by: null, isDown: false });
  drawn = fault = askedAt = null;
  changed();
}

/** Ask for all of them as a map, which holds every column that came, whatever it came as. */
async function askAll(level) {
  flying?.abort();
  askedAt = level;
  const mine = (flying = new AbortController());
  const { table, units } = brought;
  const query = { level, warnings: true, ...unitQuery(units) };
  try {
    const text = await callText("POST", "predict", { query, body: table.body, type: table.type, accept: GEOJSON, signal: mine.signal });
    drawn = read(JSON.parse(text), text, query);
    fault = null;
  } catch (error) {
    if (error.name === "AbortError") return;
    fault = error instanceof Problem ? error : new Problem({ code: "page", detail: error.message });
  }
  if (flying === mine) flying = null;
  changed();
}

function read(body, text, query) {
  const found = (body.features ?? [body]).map(({ properties }) => properties);
  const columns = [...new Set(found.slice(0, 1).flatMap(Object.keys))];
  const crops = columns.filter((name) => name.endsWith("_tons")).map((name) => name.slice(0, -5)).filter((crop) => columns.includes(`${crop}_low`));
  const known = columns.map((name) => ({ name, ...meaning(name) }));
  const region = known.find(({ feature }) => feature === "region")?.name;
  const weather = known.filter(({ feature, name }) => feature && feature !== "region" && feature !== "season" && found[0][name] !== null);
  const rows = found.map((of, place) => ({
    place,
    region: of[region] ?? null,
    weather: Object.fromEntries(weather.map(({ name, feature, unit }) => [feature, inStored(feature, unit ?? query[`${feature}_unit`], Number(of[name]))])),
    yields: Object.fromEntries(crops.map((crop) => [crop, { tons: of[`${crop}_tons`], low: of[`${crop}_low`], high: of[`${crop}_high`] }])),
    warnings: of.warnings ?? [],
  }));
  return { rows, crops, features: weather.map(({ feature }) => feature), text, query, version: body.model_version };
}

const answer = () => {
  const { rows, crops, features, version } = drawn;
  const warned = rows.filter((row) => row.warnings.length).length;
  return html`${stale(version, () => askAll(askedAt))}
    <p>${count(rows.length, "region")}, ${100 * askedAt}% intervals${warned ? `; ${count(warned, "row")} with a warning` : ""}.
      ${rows.length > MOST_ROWS ? `The first ${MOST_ROWS} are shown; all of them are in the file.` : ""}</p>
    ${scrolling("predictions of regions", html`<table>
      <thead><tr>${heading("region", "region")}${features.map((name) => heading(name, named(name)))}${crops.map((crop) => heading(`${crop}_tons`, `${crop}, tons`))}${warned ? heading("warnings", "warnings") : nothing}</tr></thead>
      <tbody>${bodyRows(crops, features, warned)}</tbody></table>`)}
    <div class="actions">
      <button type="button" class="secondary" @click=${saveCSV}>Download as CSV</button>
      <button type="button" class="secondary" @click=${() => download(`${base()}-yields.geojson`, drawn.text, GEOJSON)}>As GeoJSON</button>
    </div>`;
};

/** A column's head, which sorts by it: ascending, then descending. */
function heading(by, text) {
  const isBy = order.by === by;
  const sort = () => {
    Object.assign(order, { by, isDown: isBy && !order.isDown });
    changed();
  };
  return html`<th scope="col" class=${["region", "warnings"].includes(by) ? by : "number"} aria-sort=${isBy ? (order.isDown ? "descending" : "ascending") : "none"}><button type="button" class="link" @click=${sort}>${text}<span aria-hidden="true">${isBy ? (order.isDown ? " ↓" : " ↑") : " ↕"}</span></button></th>`;
}

const value = ({ region, place, weather, yields, warnings }) =>
  ({ region: region ?? "", warnings: warnings.length, ...weather, ...Object.fromEntries(Object.entries(yields).map(([crop, { tons }]) => [`${crop}_tons`, tons])) })[order.by] ?? place;

let kept = { of: [] };

/** Return the rows as they are shown; kept while nothing of it has changed: the sliders above are drawn with each frame. */
function bodyRows(crops, features, warned) {
  const of = [drawn, order.by, order.isDown, session.units, session.live];
  if (!of.every((each, place) => each === kept.of[place])) {
    const sorted = d3.sort(drawn.rows, (a, b) => (order.isDown ? d3.descending : d3.ascending)(value(a), value(b)));
    kept = { of, rows: sorted.slice(0, MOST_ROWS).map((row) => rowOf(row, crops, features, warned, box(session.live))) };
  }
  return kept.rows;
}

function rowOf({ region, place, weather, yields, warnings }, crops, features, warned, reach) {
  const name = region ?? `row ${place + 1}`;
  const isWithin = features.every((feature) => !reach[feature] || (weather[feature] >= reach[feature].from && weather[feature] <= reach[feature].to));
  const to = () => link("ask", [], { ...Object.fromEntries(here().query), ...weather, region: region ?? "" });
  const go = (event) => {
    event.preventDefault();
    location.hash = to();
    scrollTo(0, 0);
  };
  return html`<tr><th scope="row">${isWithin ? html`<a href=${to()} @click=${go}>${name}</a>` : name}</th>
    ${features.map((feature) => html`<td class="number">${written(feature, weather[feature])}</td>`)}
    ${crops.map((crop) => {
      const { tons, low, high } = interval(yields[crop]);
      return html`<td class="number">${tons} ${low === null ? nothing : html`<span class="fine">${low} to ${high}</span>`}</td>`;
    })}${warned ? html`<td class="warnings">${warnings.join("; ")}</td>` : nothing}</tr>`;
}

const base = () => brought.table.name.replace(/\.\w+$/, "").replaceAll(/[^\w.-]+/g, "-");

/** Save what the service answers as CSV, with every column that came. */
async function saveCSV() {
  const { table } = brought;
  try {
    const query = { ...drawn.query, version: drawn.version };
    download(`${base()}-yields.csv`, await callText("POST", "predict", { query: { ...query, count: false }, body: table.body, type: table.type, accept: CSV }), CSV);
  } catch (error) {
    fault = error;
    changed();
  }
}
