// By how much predictions missed, and whether that follows anything: a feature, a season, the order of batches.

import { called, figure, same, tip } from "../figures.js";
import { html, nothing } from "../lit.js";
import { decimals, rounded, short, signed } from "../numbers.js";
import { session } from "../session.js";
import { named, shown } from "../units.js";
import { said } from "./observed.js";
import { rowName } from "./points.js";

const { Plot } = window;
const HEIGHT = 190;
const ordered = new Intl.Collator("en", { numeric: true }).compare;

/** Return a chart for each feature, and for seasons and batches where there are several. */
export function residuals(features, rows, colour) {
  const byFeature = features.map(({ name }) => scatter(name, rows, colour));
  return html`<div class="small-charts">${byFeature} ${groups("season", (row) => row.season, ordered, rows, colour)} ${groups("batch", (row) => row.batch, null, rows, colour)}</div>`;
}

function scatter(feature, all, colour) {
  const data = same(`residuals by ${feature}`, [all, colour, session.units], () => ({ feature, colour, rows: all.filter((row) => row[feature] !== null) }));
  if (!data.rows.length) return nothing;
  return figure({
    id: `residuals by ${feature}`, title: `by ${feature}`, data, draw: drawScatter, height: HEIGHT,
    columns: ["row", named(feature), "reported − predicted"],
    rows: () => data.rows.map((row) => [rowName(row), shown(feature, row[feature]), row.residual]),
  });
}

/** Return the chart of groups of rows, in `order`, or in that in which they are stored. */
function groups(name, of, order, all, colour) {
  const data = same(`residuals by ${name}`, [all, colour], () => grouped(of, order, all, colour));
  if (data.names.length < 2) return nothing;
  const places = decimals(d3.deviation(data.rows, (row) => row.residual) ?? 0);
  const worst = d3.greatest(data.means, (mean) => Math.abs(mean.residual));
  const first = name === "batch" ? "In the order in which they came. " : "";
  return figure({
    id: `residuals by ${name}`, title: `by ${name}`, data, draw: drawGroups, height: HEIGHT,
    sentence: `${first}Bars: means; the largest is ${signed(worst.residual, places)} t (${name === "batch" ? "no. " : ""}${worst.name}).`,
    columns: [name, "rows", "mean of reported − predicted", "deviation"],
    rows: () => data.means.map((mean) => [mean.name, mean.rows, mean.residual, mean.deviation]),
  });
}

function grouped(of, order, all, colour) {
  const known = all.filter((row) => of(row) !== null);
  const names = [...new Set(known.map(of))];
  if (order) names.sort(order);
  // Batches have no names of their own: they are numbered as they came.
  const called = new Map(names.map((name, place) => [name, order ? name : String(place + 1)]));
  const rows = known.map((row) => ({ ...row, group: called.get(of(row)) }));
  const means = d3.rollups(rows, (part) => ({ rows: part.length, residual: d3.mean(part, (row) => row.residual), deviation: d3.deviation(part, (row) => row.residual) ?? null }), (row) => row.group)
    .map(([name, found]) => ({ name, ...found }));
  return { rows, names: [...called.values()], means: means.sort((one, other) => ordered(one.name, other.name)), colour };
}

const frame = (width) => ({ height: HEIGHT, marginLeft: 46, marginRight: 10, marginTop: 20, marginBottom: 36, inset: 5, width });
const off = { label: "↑ off by, tons", grid: true, ticks: 4, tickFormat: short };
const dots = (rows, x, colour) => [
  Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
  called("inside their interval", Plot.dot(rows.filter((row) => row.isInside !== false), { x, y: "residual", r: rows.length > 200 ? 1.8 : 3, fill: colour, fillOpacity: 0.75 })),
  called("outside their interval", Plot.dot(rows.filter((row) => row.isInside === false), { x, y: "residual", r: rows.length > 200 ? 2.8 : 3.8, symbol: "triangle", fill: "var(--surface)", stroke: "currentColor", strokeWidth: 1.2 })),
];
const saidOf = (rows, x) => tip(rows, { x, y: "residual", title: said });

function drawScatter({ feature, rows, colour }, width) {
  const x = (row) => shown(feature, row[feature]);
  return { ...frame(width), x: { label: `${named(feature)} →`, ticks: Math.max(3, Math.floor(width / 80)) }, y: off, marks: [dots(rows, x, colour), saidOf(rows, x)] };
}

function drawGroups({ rows, names, means, colour }, width) {
  const every = Math.ceil((names.length * 44) / width);
  const seen = names.filter((_, place) => place % every === 0);
  return {
    ...frame(width),
    x: { label: null, type: "band", domain: names, ticks: seen, tickFormat: (name) => (name.length > 8 ? `${name.slice(0, 7)}…` : name), padding: 0.25 }, y: off,
    marks: [
      dots(rows, "group", colour),
      called("means", Plot.tickY(means, { x: "name", y: "residual", stroke: "currentColor", strokeWidth: 3 })),
      saidOf(rows, "group"),
    ],
  };
}

/** Return the chart of how much each row weighs, against by how much it is missed. */
export function leverage(rows, largest, colour) {
  const sorted = same("leverage", [rows, colour], () => ({ rows, largest, colour }));
  const top = d3.greatest(rows, (row) => row.leverage);
  return figure({
    id: "leverage", title: "Who steers the line", data: sorted, draw: drawLeverage, height: HEIGHT,
    sentence: `The farther right, the more unusual the weather, and the more a row pulls the line to itself. Farthest: ${rowName(top)}. Weather beyond it is called extrapolated.`,
    columns: ["row", "leverage", "reported − predicted"],
    rows: () => d3.sort(rows, (row) => -row.leverage).map((row) => [rowName(row), row.leverage, row.residual]),
  });
}

function drawLeverage({ rows, largest, colour }, width) {
  return {
    ...frame(width), x: { label: "leverage →", ticks: Math.max(3, Math.floor(width / 80)), domain: [0, largest * 1.05], insetLeft: 0 }, y: off,
    marks: [called("the largest of training", Plot.ruleX([largest], { stroke: "currentColor", strokeDasharray: "4 3" })), dots(rows, "leverage", colour), saidOf(rows, "leverage")],
  };
}

/** Say what a residual is on average, for a heading: of all rows that were read, drawn or not. */
export function missed(rows, { rmse }) {
  const typical = rmse ?? Math.sqrt(d3.mean(rows, (row) => row.residual ** 2));
  return `Reported − predicted; typically ${rounded(typical, decimals(typical))} t. Dots that follow a bend or a slope say that the line misses something.`;
}
