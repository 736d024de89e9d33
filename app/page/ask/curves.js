// How each crop answers to each feature, the others being as they are asked about.

import { colourOf, figure } from "../figures.js";
import { html } from "../lit.js";
import { named, shown, unit, written } from "../units.js";

const { Plot } = window;
const HEIGHT = 160;

/** Return a row of charts for each crop: all have its range of yields, so that they can be compared, and stay calm. */
export const curves = (drawn, crops, asked) =>
  html`<div class="curves">${crops.map((crop) => Object.keys(drawn.curves[crop]).map((feature) => curve(crop, feature, drawn, asked)))}</div>`;

function curve(crop, feature, drawn, { weather, pinned, reach, points, region }) {
  const line = drawn.curves[crop][feature];
  const { low, high, from, to } = reach[feature];
  const data = {
    crop, feature, line, colour: colourOf(drawn.crops, crop), low, high, from, to,
    at: weather[feature], tons: drawn.point[crop].tons,
    then: pinned?.[feature] ?? null, thenTons: drawn.pinned[crop].tons,
    range: drawn.range[crop],
    points: points?.filter((row) => row.yields[crop] !== undefined) ?? [],
    region,
  };
  return figure({
    id: `${crop} by ${feature}`,
    title: `${crop} by ${feature}`,
    sentence: null,
    data,
    draw,
    height: HEIGHT,
    columns: [named(feature), "tons", "low", "high", "outside training"],
    rows: () => line.map((point) => [shown(feature, point.x), point.tons, point.low, point.high, point.isOutside ? "yes" : ""]),
  });
}

function draw({ crop, feature, line, colour, low, high, from, to, at, tons, then, thenTons, range, points, region }, width) {
  const x = (value) => shown(feature, value);
  const inside = line.map((point) => ({ ...point, tons: point.isOutside ? NaN : point.tons }));
  const outside = [[from, low], [high, to]].filter(([start, end]) => end > start);
  const seen = d3.extent([...range, ...points.map((row) => row.yields[crop])]);
  const clip = true;
  return {
    height: HEIGHT, marginLeft: 46, marginRight: 8, marginTop: 18, marginBottom: 22,
    x: { label: null, domain: [x(from), x(to)], ticks: Math.max(3, Math.floor(width / 70)) },
    y: { label: "tons", domain: d3.nice(...seen, 4), ticks: 4, grid: true, tickFormat: (value) => short(value) },
    marks: [
      Plot.rectX(outside, { x1: (ends) => x(ends[0]), x2: (ends) => x(ends[1]), fill: "currentColor", fillOpacity: 0.07 }),
      Plot.dot(points, { x: (row) => x(row[feature]), y: (row) => row.yields[crop], r: 1.5, fill: "currentColor", fillOpacity: 0.35, clip }),
      region ? Plot.dot(points.filter((row) => row.region === region), { x: (row) => x(row[feature]), y: (row) => row.yields[crop], r: 3, stroke: colour, fill: "var(--surface)", clip }) : null,
      Plot.areaY(line, { x: (point) => x(point.x), y1: "low", y2: "high", fill: colour, fillOpacity: 0.22, clip }),
      Plot.lineY(line, { x: (point) => x(point.x), y: "tons", stroke: colour, strokeWidth: 1.5, strokeDasharray: "2 4", clip }),
      Plot.lineY(inside, { x: (point) => x(point.x), y: "tons", stroke: colour, strokeWidth: 2, clip }),
      then === null ? null : Plot.dot([then], { x: x(then), y: thenTons, r: 4, stroke: "currentColor", fill: "var(--surface)", clip }),
      then === null ? null : Plot.text(["A"], { x: x(then), y: thenTons, dy: -11, fontWeight: 700, clip }),
      Plot.ruleX([at], { x: x(at), stroke: "currentColor", strokeOpacity: 0.5 }),
      Plot.dot([at], { x: x(at), y: tons, r: 4.5, fill: colour, stroke: "var(--surface)", strokeWidth: 1.5, clip }),
    ],
  };
}

const short = (value) => (Math.abs(value) >= 10_000 ? d3.format("~s")(value) : value.toLocaleString("en"));
