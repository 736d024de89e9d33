// How each crop answers to each feature, the others being as they are asked about.

import { called, colourOf, figure, same } from "../figures.js";
import { html } from "../lit.js";
import { short } from "../numbers.js";
import { named, shown, unit } from "../units.js";

const { Plot } = window;
const HEIGHT = 160;

/** Return a row of charts for each crop: all have its range of yields, so that they can be compared, and stay calm. */
export const curves = (drawn, crops, asked) =>
  html`<div class="curves">${crops.map((crop) => Object.keys(drawn.curves[crop]).filter((feature) => asked.reach[feature]).map((feature) => curve(crop, feature, drawn, asked)))}</div>`;

function curve(crop, feature, drawn, { weather, pinned, reach, points, region }) {
  const id = `${crop} by ${feature}`;
  const line = drawn.curves[crop][feature];
  const { low, high, from, to } = reach[feature];
  const colour = colourOf(drawn.crops, crop);
  const seen = d3.extent([...drawn.range[crop], ...(points ?? []).map((row) => row.yields[crop])]);
  const [least, most] = d3.nice(...seen, 4);
  const unitShown = unit(feature);
  const ground = same(`ground of ${id}`, [drawn.version, least, most, low, high, from, to, colour, points, region, unitShown], () => {
    const known = points?.filter((row) => row.yields[crop] !== undefined) ?? [];
    return { draw: drawGround, data: { crop, feature, colour, low, high, from, to, least, most, points: known, region } };
  });
  const data = {
    feature, line, colour, from, to, least, most,
    at: weather[feature], tons: drawn.point[crop].tons,
    then: pinned?.[feature] ?? null, thenTons: drawn.pinned[crop].tons,
  };
  return figure({
    id,
    title: id,
    sentence: null,
    data,
    draw,
    ground,
    height: HEIGHT,
    columns: [named(feature), "tons", "low", "high", "outside training"],
    rows: () => line.map((point) => [shown(feature, point.x), point.tons, point.low, point.high, point.isOutside ? "yes" : ""]),
  });
}

const PLACE = { height: HEIGHT, marginLeft: 46, marginRight: 8, marginTop: 18, marginBottom: 22 };
const clip = true;

/** What stays while a slider moves: axes, what training has not seen, what regions reported. */
function drawGround({ crop, feature, colour, low, high, from, to, least, most, points, region }, width) {
  const x = (value) => shown(feature, value);
  const outside = [[from, low], [high, to]].filter(([start, end]) => end > start);
  const at = { x: (row) => x(row[feature]), y: (row) => row.yields[crop], clip };
  return {
    ...PLACE,
    x: { label: null, domain: [x(from), x(to)], ticks: Math.max(3, Math.floor(width / 70)) },
    y: { label: "tons", domain: [least, most], ticks: 4, grid: true, tickFormat: short },
    marks: [
      Plot.rectX(outside, { x1: (ends) => x(ends[0]), x2: (ends) => x(ends[1]), fill: "currentColor", fillOpacity: 0.07 }),
      Plot.dot(points, { ...at, r: 1.5, fill: "currentColor", fillOpacity: 0.35 }),
      region ? Plot.dot(points.filter((row) => row.region === region), { ...at, r: 3, stroke: colour, fill: "var(--surface)" }) : null,
    ],
  };
}

function draw({ feature, line, colour, from, to, least, most, at, tons, then, thenTons }) {
  const x = (value) => shown(feature, value);
  const inside = line.map((point) => ({ ...point, tons: point.isOutside ? NaN : point.tons }));
  const along = { x: (point) => x(point.x), clip };
  return {
    ...PLACE,
    axis: null,
    x: { domain: [x(from), x(to)] },
    y: { domain: [least, most] },
    marks: [
      called("interval", Plot.areaY(line, { ...along, y1: "low", y2: "high", fill: colour, fillOpacity: 0.22 })),
      called("outside training", Plot.lineY(line, { ...along, y: "tons", stroke: colour, strokeWidth: 1.5, strokeDasharray: "2 4" })),
      called("yield", Plot.lineY(inside, { ...along, y: "tons", stroke: colour, strokeWidth: 2 })),
      then === null ? null : Plot.dot([then], { x: x(then), y: thenTons, r: 4, stroke: "currentColor", fill: "var(--surface)", clip }),
      then === null ? null : Plot.text(["A"], { x: x(then), y: thenTons, dy: -11, fontWeight: 700, clip }),
      Plot.ruleX([at], { x: x(at), stroke: "currentColor", strokeOpacity: 0.5 }),
      Plot.dot([at], { x: x(at), y: tons, r: 4.5, fill: colour, stroke: "var(--surface)", strokeWidth: 1.5, clip }),
    ],
  };
}
