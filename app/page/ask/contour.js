// Two features at once: the yield as height, and how wide its interval is.

import { call } from "../calls.js";
import { figure } from "../figures.js";
import { html, nothing } from "../lit.js";
import { loading, problem, select } from "../pieces.js";
import { changed, session } from "../session.js";
import { named, shown, written, unit } from "../units.js";
import { steps } from "./grid.js";

const { Plot } = window;
const SIDE = 31;
const QUIET_MS = 150;
const HEIGHT = 320;
/** Isolines of the interval's half-width, as multiples of the smallest one. */
const WIDER = [1.25, 1.5, 2];

let asked = null;
let drawn = null;
let fault = null;
let timer = null;
let chosen = { x: null, y: null, crop: null };

/** Forget what was drawn: the view is left. */
export function forgetContour() {
  clearTimeout(timer);
  asked = drawn = fault = null;
}

/** Return the chart of two features for one crop; it is asked for once the sliders are still. */
export function contour({ weather, reach, crops, level, region, points, isStill }) {
  const features = Object.keys(reach);
  if (features.length < 2 || !crops.length) return nothing;
  const [x, y] = axes(features);
  const crop = crops.includes(chosen.crop) ? chosen.crop : crops[0];
  const fixed = features.filter((feature) => feature !== x && feature !== y);
  const wanted = JSON.stringify([session.live.version, x, y, crop, level, region, fixed.map((feature) => weather[feature])]);
  if (wanted !== asked) {
    asked = wanted;
    clearTimeout(timer);
    timer = setTimeout(() => ask(wanted, { weather, reach, x, y, crop, level, region }), QUIET_MS);
  }
  const pick = (name) => (value) => {
    chosen = { x, y, crop, [name]: value };
    changed();
  };
  return html`<section class="card">
    <h2>Two at once</h2>
    <div class="picks">
      ${select("Across", features, x, pick("x"))} ${select("Up", features.filter((name) => name !== x), y, pick("y"))} ${select("Crop", crops, crop, pick("crop"))}
    </div>
    ${fault ? problem(fault, again) : drawn ? picture(drawn, { weather, points, isStill }) : loading("the map", HEIGHT)}
  </section>`;
}

function again() {
  asked = fault = null;
  changed();
}

function axes(features) {
  const x = features.includes(chosen.x) ? chosen.x : features[0];
  const y = features.includes(chosen.y) && chosen.y !== x ? chosen.y : features.find((feature) => feature !== x);
  return [x, y];
}

async function ask(wanted, { weather, reach, x, y, crop, level, region }) {
  const [across, up] = [steps(reach[x], SIDE), steps(reach[y], SIDE)];
  const rows = up.flatMap((upper) => across.map((right) => ({ ...weather, [x]: right, [y]: upper })));
  const body = Object.fromEntries(Object.keys(reach).map((feature) => [feature, rows.map((row) => row[feature])]));
  if (region) body.region = rows.map(() => region);
  try {
    const { yields, model_version: version } = await call("POST", "predict", { query: { level, count: false }, body });
    if (wanted !== asked) return;
    if (!Object.hasOwn(yields, crop)) return; // another version has gone live: its card is on its way
    fault = null;
    drawn = { x, y, crop, reach, rows, version, tons: yields[crop].tons, half: half(yields[crop]) };
  } catch (error) {
    if (wanted !== asked) return;
    drawn = null;
    fault = error;
  }
  changed();
}

const half = ({ low, high }, known = low?.[0] !== null && low !== undefined) => (known ? high.map((value, row) => (value - low[row]) / 2) : null);

function picture(map, { weather, points, isStill }) {
  const { x, y, crop, reach, rows, tons, half: halves } = map;
  const least = halves ? Math.min(...halves) : null;
  // While a slider moves it is left as it is: it takes longer to draw than all curves.
  if (!map.data || (isStill && (map.data.weather !== weather || map.data.points !== points || map.data.units !== session.units))) {
    map.data = { ...map, weather, points, units: session.units, seen: points?.filter((row) => row.yields[crop] !== undefined) ?? [] };
  }
  const others = Object.keys(reach).filter((feature) => feature !== x && feature !== y);
  const fixed = others.map((feature) => `${feature} at ${written(feature, weather[feature])} ${unit(feature)}`).join(", ");
  return figure({
    id: "two at once",
    title: `${crop} by ${x} and ${y}`,
    sentence: `${fixed ? `With ${fixed}. ` : ""}${least === null ? "" : `Dashed lines: where the interval is 1.25, 1.5 and 2 times as wide as where it is narrowest: the model knows less there. `}Frame: what training has seen.`,
    data: map.data,
    draw,
    height: HEIGHT,
    columns: [named(x), named(y), "tons", "± tons"],
    rows: () => rows.map((row, place) => [row, place]).filter(([, place]) => place % 3 === 0 && Math.floor(place / SIDE) % 3 === 0)
      .map(([row, place]) => [shown(x, row[x]), shown(y, row[y]), tons[place], halves ? halves[place] : null]),
  });
}

function draw({ x, y, crop, reach, tons, half: halves, weather, seen }) {
  const least = halves && Math.min(...halves);
  const sides = { x1: shown(x, reach[x].from), x2: shown(x, reach[x].to), y1: shown(y, reach[y].from), y2: shown(y, reach[y].to) };
  // Values lie in the middle of the grid's cells, so that it reaches half a cell further.
  const [right, up] = [(sides.x2 - sides.x1) / (SIDE - 1) / 2, (sides.y2 - sides.y1) / (SIDE - 1) / 2];
  const ends = { x1: sides.x1 - right, x2: sides.x2 + right, y1: sides.y1 - up, y2: sides.y2 + up };
  const grid = { width: SIDE, height: SIDE, ...ends, interpolate: "none", clip: true };
  return {
    height: HEIGHT, marginLeft: 46,
    x: { label: named(x), domain: [sides.x1, sides.x2] },
    y: { label: named(y), domain: [sides.y1, sides.y2] },
    color: { type: "linear", scheme: "YlGn", label: `${crop}, tons`, legend: true, ticks: 5, tickFormat: "~s", width: 256, marginLeft: 10, marginRight: 14 },
    marks: [
      Plot.contour(tons, { ...grid, fill: Plot.identity, thresholds: 12, stroke: "var(--surface)", strokeWidth: 0.5, strokeOpacity: 0.6 }),
      halves && WIDER.map((times, place) =>
        Plot.contour(halves, { ...grid, thresholds: [least * times], stroke: "#1b2a1e", fill: "none", strokeWidth: 1.5, strokeDasharray: ["8 4", "4 4", "2 4"][place] })),
      Plot.rect([reach], { x1: shown(x, reach[x].low), x2: shown(x, reach[x].high), y1: shown(y, reach[y].low), y2: shown(y, reach[y].high), stroke: "#1b2a1e", strokeWidth: 1.2, fill: "none" }),
      Plot.dot(seen, { x: (row) => shown(x, row[x]), y: (row) => shown(y, row[y]), r: 2, fill: "#1b2a1e", fillOpacity: 0.6 }),
      Plot.dot([weather], { x: shown(x, weather[x]), y: shown(y, weather[y]), r: 6, fill: "#fff", stroke: "#1b2a1e", strokeWidth: 2 }),
    ],
  };
}
