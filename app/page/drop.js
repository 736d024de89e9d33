// A table that a person brings: dropped, chosen or pasted; and a first look at it. Whether it is good, the service says.

import { html, nothing } from "./lit.js";
import { problem } from "./pieces.js";
import { changed } from "./session.js";
import { GIVEN } from "./units.js";

export const CSV = "text/csv";
export const GEOJSON = "application/geo+json";
const XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const JSON_TYPE = "application/json";
const BY_END = { csv: CSV, tsv: CSV, txt: CSV, geojson: GEOJSON, json: JSON_TYPE, xlsx: XLSX };
const LOOKED_AT = 64 * 1024;
const MOST_PARSED = 8 * 1024 * 1024;
const MOST_KEPT = 64 * 1024 * 1024;
const MOST_ROWS = 6;

/** How a unit is written in a header, in lower case, and what the service's queries call it. */
const UNITS = {
  temperature: { "°f": "fahrenheit", f: "fahrenheit", "°c": "celsius", c: "celsius", "℃": "celsius", k: "kelvin" },
  rainfall: { mm: "mm", in: "inch", inch: "inch", inches: "inch" },
  humidity: {},
};

/** Return what a column is by its name: `{feature, unit}`, the unit as queries call it, null where the name has none. */
export function meaning(name) {
  const [, plain, unit] = /^([^([]*?)\s*(?:[([](.*)[)\]])?$/.exec(name.trim().toLowerCase()) ?? [];
  if (Object.hasOwn(UNITS, plain ?? "")) return { feature: plain, unit: unit === undefined ? null : Object.hasOwn(UNITS[plain], unit.trim()) ? UNITS[plain][unit.trim()] : unit };
  return { feature: ["region", "season"].includes(name.trim().toLowerCase()) ? name.trim().toLowerCase() : null, unit: null };
}

/** Return a value of a table in the service's unit. */
export function inStored(feature, unit, value) {
  const [, one, zero] = GIVEN[feature]?.[unit] ?? ["", 1, 0];
  return value * one + zero;
}

/**
 * Return a file, or pasted text, as it is sent, with a look at its first rows: `{name, type, body, size, columns, rows, total}`.
 *
 * What is looked at is what is sent, even if the file is written to meanwhile: it is copied, unless it is very large.
 */
async function look(given, name = given.name) {
  const file = given.size < MOST_KEPT ? new Blob([await given.arrayBuffer()]) : given;
  const start = new Uint8Array(await file.slice(0, LOOKED_AT).arrayBuffer());
  const text = new TextDecoder(start[0] === 0xff && start[1] === 0xfe ? "utf-16le" : "utf-8").decode(start);
  const type = typeOf(name, given.type, text);
  const head = type === CSV ? cells(text, file.size > LOOKED_AT) : type.endsWith("json") && file.size < MOST_PARSED ? members(await file.text()) : {};
  return { name, body: file, size: file.size, ...head, type: head.type ?? type };
}

function typeOf(name, said, text) {
  const isJSON = /^\s*[{[]/.test(text);
  const found = text.startsWith("PK\u0003\u0004") ? XLSX : BY_END[name.split(".").pop().toLowerCase()];
  if (found === CSV && isJSON) return JSON_TYPE;
  return found ?? (said && !said.startsWith("text/") ? said : isJSON ? JSON_TYPE : CSV);
}

/** Return the first rows of CSV, whatever separates its cells; a line that is cut off is not among them. */
function cells(text, isCut) {
  const table = text.replace(/^\ufeff/, "").replace(/^"?sep=.*\r?\n/i, "");
  const header = table.slice(0, table.search(/[\r\n]|$/));
  const separator = d3.greatest([",", ";", "\t"], (each) => header.split(each).length);
  const [columns, ...rows] = d3.dsvFormat(separator).parseRows(isCut ? table.slice(0, table.lastIndexOf("\n")) : table);
  if (!columns || /[\0\ufffd]/.test(header)) return {};
  return { columns, rows: rows.slice(0, MOST_ROWS), total: isCut ? null : rows.filter((row) => row.some(Boolean)).length };
}

/** Return the first rows of JSON: of features, of observations or of regions. */
function members(text) {
  try {
    const body = JSON.parse(text);
    const isMap = body.type === "FeatureCollection" || body.type === "Feature";
    const all = (body.features ?? (isMap ? [body] : (body.observations ?? body.regions ?? []))).map((one) => one.properties ?? one);
    const found = all.slice(0, MOST_ROWS).map(({ yields, ...plain }) => ({ ...plain, ...yields }));
    const columns = [...new Set(found.flatMap(Object.keys))];
    const rows = found.map((row) => columns.map((column) => (typeof row[column] === "object" ? JSON.stringify(row[column]) : String(row[column] ?? ""))));
    return { type: isMap ? GEOJSON : JSON_TYPE, ...(columns.length ? { columns, rows, total: all.length } : {}) };
  } catch {
    return {}; // the service says what is wrong with it
  }
}

// A file that misses the place for it would else take the browser away from here.
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
}

const pasted = {};
/** The newest table that was brought to each field, by its id: `{fault}`, a Problem where it cannot be read. */
const newest = {};

/** Look at what was brought, and hand it on unless something else was brought meanwhile. */
async function read(id, take, file, name = file.name) {
  const mine = (newest[id] = { fault: null });
  let table = null;
  try {
    table = await look(file, name);
  } catch (error) {
    mine.fault = { code: "file", detail: `${name} cannot be read (${error.message}): bring a file, not a folder; one that was moved or changed meanwhile has to be chosen again.` };
  }
  if (mine !== newest[id]) return;
  if (table) take(table);
  else changed();
}

/**
 * Return the place where a table is dropped, chosen or pasted.
 *
 * `id`: of the field. `title`: what is asked for. `hint`: a sentence. `take(table)`: told what `look` returns.
 */
export function dropZone({ id, title, hint, take }) {
  const seen = (file, name) => read(id, take, file, name);
  const over = (isOver) => (event) => {
    event.currentTarget.classList.toggle("over", isOver);
    event.preventDefault();
  };
  const drop = (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    const text = event.dataTransfer.getData("text/plain");
    if (file) seen(file);
    else if (text) seen(new Blob([text]), "dropped text");
  };
  const choose = ({ target }) => {
    if (target.files[0]) seen(target.files[0]);
    target.value = ""; // the same file, mended, can be chosen again
  };
  const write = ({ target }) => {
    pasted[id] = target.value;
    changed();
  };
  const paste = () => {
    seen(new Blob([pasted[id]]), "pasted table");
    pasted[id] = "";
    changed();
  };
  return html`<section class="drop" @dragover=${over(true)} @dragleave=${over(false)} @drop=${drop}>
    <label for=${id}><strong>${title}</strong></label>
    <input type="file" id=${id} accept=".csv,.tsv,.txt,.xlsx,.json,.geojson" aria-describedby="${id}-hint" @change=${choose}>
    <p class="fine" id="${id}-hint">${hint}</p>
    ${newest[id]?.fault ? problem(newest[id].fault) : nothing}
    <details><summary>Paste it instead</summary>
      <textarea rows="5" aria-label="Paste a table" spellcheck="false" .value=${pasted[id] ?? ""} @input=${write}
        placeholder="region,season,temperature,rainfall,humidity,…"></textarea>
      <button type="button" class="secondary" ?disabled=${!pasted[id]?.trim()} @click=${paste}>Use this text</button>
    </details>
  </section>`;
}

/**
 * Return the choice of a table's units, for those features whose column does not name one.
 *
 * `units`: those chosen, by feature; `choose(feature, unit)` is told of each change.
 */
export function unitChoice({ id, table, units, choose }) {
  if (!table.columns && ![XLSX, GEOJSON, JSON_TYPE].includes(table.type)) return nothing;
  const unnamed = Object.keys(GIVEN).filter((feature) => (table.columns ? table.columns.some((column) => isUnnamed(column, feature)) : true));
  if (!unnamed.length) return nothing;
  return html`<div class="picks">${unnamed.map(
    (feature) => html`<label for="${id}-${feature}">${feature} is in
      <select id="${id}-${feature}" @change=${(event) => choose(feature, event.target.value)}>
        ${table.columns ? nothing : html`<option value="" ?selected=${!units[feature]}>what the file says</option>`}
        ${Object.entries(GIVEN[feature]).map(([unit, [symbol]], place) => html`<option value=${unit} ?selected=${table.columns ? unit === (units[feature] ?? Object.keys(GIVEN[feature])[0]) : unit === units[feature]}>${symbol}${place ? "" : " (assumed)"}</option>`)}
      </select></label>`,
  )}</div>`;
}

const isUnnamed = (column, feature) => {
  const found = meaning(column);
  return found.feature === feature && !found.unit;
};

/** Return the query that says a table's units, where they are not what the service assumes. */
export const unitQuery = (units) => ({ temperature_unit: units.temperature, rainfall_unit: units.rainfall });
