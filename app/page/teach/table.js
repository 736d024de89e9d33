// The table that was brought: a look at its first rows, and how it is to be read.

import { dropZone, meaning, unitChoice, unitQuery } from "../drop.js";
import { table as tableOf } from "../figures.js";
import { html, live, nothing } from "../lit.js";
import { count } from "../numbers.js";
import { tokenNeeded } from "../pieces.js";
import { session } from "../session.js";

/** Columns, and characters of a cell, that the look at a table shows. */
const MOST_COLUMNS = 30;
const MOST_CHARACTERS = 40;

/** What was brought, and how it is to be read; `columns`: those that may be crops, once the service has asked. */
export const brought = { table: null, units: {}, crops: null, columns: null };

/** Return what a query says of the table; nothing of what is stored. */
export const tableQuery = () =>
  brought.table.body ? { source: brought.table.name.slice(0, 200), ...unitQuery(brought.units), crops: brought.crops?.join(",") } : {};

/**
 * Return the table that was brought, or the place where one is.
 *
 * `isLocked`: it is being learned. `isDone`: how it is read has no choice any more. `bring(table)`: another one, or none;
 * `again()`: it is to be read in another way.
 */
export function theTable({ isLocked, isDone, bring, again }) {
  const { table } = brought;
  if (!table) {
    return html`<section class="card">
      <p>Bring the harvest that came in: the weather of each region and season, and what each crop yielded. You see first what it would change; until you say so, nothing is stored.</p>
      ${dropZone({ id: "teach-file", title: "Drop a table here, or choose one", hint: "CSV as spreadsheets save it, a workbook (.xlsx), GeoJSON or JSON.", take: bring })}
      ${needsToken()}
    </section>`;
  }
  const isStored = !table.body;
  return html`<section class="card" aria-labelledby="teach-table">
    <div class="title"><h2 id="teach-table" tabindex="-1">${isStored ? "What is in use" : table.name}</h2>
      ${isLocked ? nothing : html`<button type="button" class="secondary outline" @click=${() => bring(null)}>${isStored ? "Bring a table" : "Another table"}</button>`}</div>
    ${isStored ? html`<p>All rows that were sent and not withdrawn, without new ones.</p>` : [head(table), isLocked || isDone ? nothing : reading(table, again)]}
    ${needsToken()}
  </section>`;
}

function needsToken() {
  const { access } = session;
  if (!access || access.write) return nothing;
  return access.rows ? html`<p class="needed">This token reads; to teach needs one that writes.</p>` : tokenNeeded(brought.table ? "Seeing what this would change" : "Teaching");
}

/** The first rows, each column with what it is taken for. */
function head({ columns, rows, total, size }) {
  const sized = `${Math.max(1, Math.round(size / 1024)).toLocaleString("en")} KB`;
  if (!columns) return html`<p class="fine">${sized}; the service looks into it.</p>`;
  const heads = columns.slice(0, MOST_COLUMNS).map((column) => html`${cut(column)}<br><span class="fine">${taken(column)}</span>`);
  const more = total === null ? "more below" : total > rows.length ? `${count(total, "row")} in all` : count(total, "row");
  const hidden = columns.length > MOST_COLUMNS ? `; ${count(columns.length - MOST_COLUMNS, "more column")}` : "";
  return html`${tableOf({ columns: heads, rows: rows.map((row) => row.slice(0, MOST_COLUMNS).map(cut)), name: "first rows" })}<p class="fine">${sized}, ${more}${hidden}.</p>`;
}

const cut = (text) => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text);

function taken(column) {
  const { feature, unit } = meaning(column);
  if (feature === "region" || feature === "season") return "a name";
  if (!feature) return !brought.crops || brought.crops.includes(column) ? "a crop, tons" : "passed over";
  return feature === "humidity" ? "weather, %" : unit ? "weather, unit named" : "weather";
}

function reading(table, again) {
  const choose = (feature, unit) => {
    brought.units = { ...brought.units, [feature]: unit };
    again();
  };
  return html`${unitChoice({ id: "teach", table, units: brought.units, choose })} ${cropChoice(again)}`;
}

/** A query names crops with commas between them: one that has a comma in its own name cannot be among them. */
const canBeNamed = (crop) => !crop.includes(",");

/** Which columns are crops, once the service does not take some for one. */
function cropChoice(again) {
  if (!brought.columns) return nothing;
  const toggle = (crop) => () => {
    brought.crops = brought.crops.includes(crop) ? brought.crops.filter((each) => each !== crop) : brought.columns.filter((each) => each === crop || brought.crops.includes(each));
    again();
  };
  return html`<fieldset><legend>Which columns are crops?</legend>
    <div class="choices">${brought.columns.map((crop) => html`<label><input type="checkbox" ?disabled=${!canBeNamed(crop)} .checked=${live(brought.crops.includes(crop))} @change=${toggle(crop)}>${crop}</label>`)}</div>
    ${brought.columns.every(canBeNamed) ? nothing : html`<p class="fine">A column with a comma in its name cannot be chosen here. To teach it, rename it in the table and bring that again.</p>`}</fieldset>`;
}

/** Offer the columns that a fault says do not look like crops, and those that do; say whether these can be asked about. */
export function offerCrops(fault) {
  const refused = fault.errors.filter(({ code, loc }) => code === "crop" && loc.length === 1).map(({ loc }) => loc[0]);
  if (!refused.length || brought.columns) return false;
  const columns = brought.table.columns?.filter((column) => !meaning(column).feature);
  const found = /crops found: (.*)$/.exec(fault.errors.find(({ code }) => code === "crop").message)?.[1].split(", ") ?? [];
  brought.columns = columns ?? [...found, ...refused];
  brought.crops = brought.columns.filter((column) => !refused.includes(column) && canBeNamed(column));
  return brought.crops.length > 0;
}
