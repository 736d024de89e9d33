// Two versions side by side: what they are worth, what weather does in each, and what they predict.

import { called, colourOf, figure, same, scrolling, tip } from "../figures.js";
import { html, nothing } from "../lit.js";
import { cardOf, retryCard } from "../model/cards.js";
import { coefficients, lines } from "../model/coefficients.js";
import { heldOutBriefly } from "../model/words.js";
import { count, decimals, interval, rounded, short, signed } from "../numbers.js";
import { own } from "../own.js";
import { loading, problem, select } from "../pieces.js";
import { changed } from "../session.js";
import { named, shown, unit, written } from "../units.js";
import { both, retryBoth } from "./both.js";

const { Plot } = window;
let chosen = null;

/** Return the difference of two versions, the older one first; `id`: where it stands, there may be two of them. */
export function difference(first, second, id) {
  const found = [first, second].map((version) => ({ version, ...cardOf(version) }));
  const broken = found.find((each) => each.fault);
  if (broken) return problem(broken.fault, () => retryCard(broken.version));
  const [one, other] = found.map((each) => each.card);
  if (!one || !other) return loading("both versions", 300);
  const crops = Object.keys(other.crops).filter((crop) => own(one.crops, crop));
  const only = [...Object.keys(one.crops).map((crop) => [crop, one]), ...Object.keys(other.crops).map((crop) => [crop, other])].filter(([crop]) => !crops.includes(crop));
  if (!crops.length) return html`<p>Version ${first} and version ${second} have no crop in common.</p>`;
  const crop = crops.includes(chosen) ? chosen : crops[0];
  const pick = (name) => {
    chosen = name;
    changed();
  };
  return html`
    ${scores(one, other, crops)}
    ${only.length ? html`<p class="fine">Only in one of them: ${only.map(([name, card]) => `${name} (version ${card.version})`).join(", ")}.</p>` : nothing}
    ${crops.length > 1 ? html`<div class="picks">${select("Crop", crops, crop, pick)}</div>` : nothing}
    <h3>What the weather does to ${crop}</h3>
    ${coefficients({ id: `${id} coefficients`, crop, features: other.features, of: [one, other].map((card) => ({ ...lines(card.crops[crop])[0], name: `version ${card.version}` })), scale: "unit", colour: colourOf(Object.keys(other.crops), crop) })}
    <h3>What they predict</h3>
    ${predictions(one, other, crop, id)}`;
}

const MEASURES = [
  ["RMSE out of fold, t", (crop) => crop.out_of_fold.rmse],
  ["MAE out of fold, t", (crop) => crop.out_of_fold.mean_absolute_error],
  ["R² out of fold", (crop) => crop.out_of_fold.r_squared],
  ["rows", (crop) => crop.rows],
];

function scores(one, other, crops) {
  return scrolling("scores of both versions", html`<table class="scores">
    <thead><tr><th scope="col">crop</th><th scope="col">measure</th>${[one, other].map((card) => html`<th scope="col" class="number">version ${card.version}</th>`)}<th scope="col" class="number">difference</th></tr></thead>
    <tbody>${crops.map((crop) => scoresOf(crop, one.crops[crop], other.crops[crop]))}</tbody>
  </table>`);
}

function scoresOf(name, before, after) {
  const lines = MEASURES.map(([measure, of]) => [measure, of(before), of(after)]).filter(([, first, second]) => first !== null || second !== null);
  const margin = Math.min(before.out_of_fold.rmse, after.out_of_fold.rmse) / 10;
  const places = (measure) => (measure === "rows" ? 0 : measure.startsWith("R²") ? 4 : decimals(margin));
  const write = (value, measure) => (value === null ? "–" : rounded(value, places(measure)));
  return html`
    ${lines.map(([measure, first, second], place) => html`<tr>
      ${place === 0 ? html`<th scope="rowgroup" rowspan=${lines.length + 1}>${name}</th>` : nothing}
      <td>${measure}</td><td class="number">${write(first, measure)}</td><td class="number">${write(second, measure)}</td>
      <td class="number">${first === null || second === null ? "–" : signed(second - first, places(measure))}</td></tr>`)}
    <tr><td>held out</td><td class="number">${heldOutBriefly(before.out_of_fold.by)}</td><td class="number">${heldOutBriefly(after.out_of_fold.by)}</td>
      <td class="number">${before.out_of_fold.by === after.out_of_fold.by ? "" : "not comparable"}</td></tr>`;
}

function predictions(one, other, crop, id) {
  const found = both(one, other);
  if (found.fault) return problem(found.fault, retryBoth);
  if (!found.crops) return loading("predictions of both", 220);
  const rows = found.crops[crop];
  const typical = Math.sqrt(d3.mean(rows, (row) => row.by ** 2));
  const most = d3.greatest(rows, (row) => Math.abs(row.by));
  const apart = rows.filter((row) => row.isApart).length;
  const places = decimals(typical);
  const asked = found.from === "rows" ? `${count(rows.length, "row")} that version ${other.version} was trained on` : `${rows.length} kinds of weather spread evenly over training`;
  const weather = found.features.map((name) => `${name} ${written(name, most[name])} ${unit(name)}`).join(", ");
  return figure({
    id: `${id} predictions`, title: `Version ${other.version} minus version ${one.version}, ${crop}`, draw, height: 240,
    sentence: `For ${asked}, they typically differ by ${rounded(typical, places)} t, at most by ${signed(most.by, places)} t (${most.region ? `${most.region}: ` : ""}${weather}). ${apart ? `Of ${apart} (△) the intervals have nothing in common.` : "All their intervals overlap."}`,
    data: same(`${id} predictions`, [rows, one, other], () => ({ rows, one: one.version, other: other.version, colour: colourOf(Object.keys(other.crops), crop) })),
    columns: ["region", ...found.features.map(named), `version ${one.version}`, `version ${other.version}`, "difference, tons"],
    rows: () => rows.map((row) => [row.region ?? null, ...found.features.map((name) => shown(name, row[name])), told(row.one), told(row.other), row.by]),
  });
}

function told(prediction) {
  const { tons, low, high } = interval(prediction);
  return low === null ? tons : `${tons} (${low} to ${high})`;
}

function draw({ rows, one, other, colour }, width) {
  const at = { x: (row) => row.one.tons, y: "by" };
  const title = (row) => `${row.region ?? "weather"}\nversion ${one}: ${told(row.one)} t\nversion ${other}: ${told(row.other)} t`;
  const r = rows.length > 200 ? 2.2 : 3.5;
  return {
    height: 240, marginLeft: 50, marginTop: 20, marginBottom: 36, inset: 5,
    x: { label: `predicted by version ${one}, tons →`, tickFormat: short, ticks: Math.max(3, Math.floor(width / 80)) },
    y: { label: "↑ difference, tons", tickFormat: short, grid: true, ticks: 5 },
    marks: [
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
      called("intervals overlap", Plot.dot(rows.filter((row) => !row.isApart), { ...at, r, fill: colour, fillOpacity: 0.75 })),
      called("intervals are apart", Plot.dot(rows.filter((row) => row.isApart), { ...at, r: r + 1, symbol: "triangle", fill: "var(--surface)", stroke: "currentColor", strokeWidth: 1.3 })),
      tip(rows, { ...at, title }),
    ],
  };
}
