// What regions reported against what was predicted of them, before they were seen.

import { called, figure, same, tip } from "../figures.js";
import { count, interval, rounded, decimals, short } from "../numbers.js";
import { rowName } from "./points.js";

const { Plot } = window;
const MOST_HEIGHT = 440;

/** Return the chart; `rows`: as `points` returns them. */
export function observed(crop, { rows, page }, colour) {
  const sentence = `${told(rows, page, crop)} On the diagonal, both are the same.`;
  return figure({
    id: "observed", title: `Predicted against reported, ${crop}`, sentence, draw, height: 320,
    data: same("observed", [rows, colour], () => ({ rows, colour })),
    columns: ["row", "reported", "predicted", "low", "high", "inside"],
    rows: () => rows.map((row) => [rowName(row), row.tons, row.predicted, row.low, row.high, { true: "yes", false: "no" }[row.isInside] ?? null]),
  });
}

function told(rows, { level, selected_by: selection, crops }, crop) {
  const judged = rows.filter((row) => row.isInside !== null);
  if (!judged.length || crops[crop].by === "nothing") return "Predicted by a line that these rows were part of: an error in sample, which is too small.";
  if (selection !== null) return "The farthest off are among the rows that were chosen: here intervals look worse than they are.";
  const inside = judged.filter((row) => row.isInside).length;
  return `${inside} of ${count(judged.length, "yield")} lie in the interval that was predicted without them; at ${100 * level}% about ${Math.round(level * judged.length)} should.`;
}

/** Say in a tip which row it is, and how far off. */
export function said(row) {
  const { tons, low, high } = interval({ ...row, tons: row.predicted });
  const places = decimals(row.low === null ? Math.abs(row.tons) / 100 : (row.high - row.low) / 2);
  return `${rowName(row)}\nreported ${rounded(row.tons, places)} t\npredicted ${tons} t${low === null ? "" : ` (${low} to ${high})`}`;
}

function draw({ rows, colour }, width) {
  const within = d3.extent(rows.flatMap((row) => [row.tons, row.predicted]));
  const margin = (within[1] - within[0] || 1) * 0.04;
  const domain = [within[0] - margin, within[1] + margin];
  const [inside, outside] = [rows.filter((row) => row.isInside !== false), rows.filter((row) => row.isInside === false)];
  const size = rows.length > 200 ? 2.2 : 3.5;
  const at = { x: "tons", y: "predicted" };
  return {
    height: Math.min(MOST_HEIGHT, Math.max(260, width * 0.8)), marginLeft: 50, marginBottom: 36, marginTop: 20,
    x: { label: "reported, tons →", domain, tickFormat: short, ticks: Math.max(3, Math.floor(width / 80)) }, y: { label: "↑ predicted, tons", domain, tickFormat: short, grid: true },
    marks: [
      called("diagonal", Plot.link([domain], { x1: "0", y1: "0", x2: "1", y2: "1", stroke: "currentColor", strokeDasharray: "5 4", strokeOpacity: 0.7 })),
      called("intervals", Plot.ruleX(rows.filter((row) => row.low !== null), { x: "tons", y1: "low", y2: "high", stroke: colour, strokeOpacity: rows.length > 200 ? 0.12 : 0.4, clip: true })),
      called("inside their interval", Plot.dot(inside, { ...at, r: size, fill: colour, stroke: "var(--surface)", strokeWidth: 0.7 })),
      called("outside their interval", Plot.dot(outside, { ...at, r: size + 1, symbol: "triangle", fill: "var(--surface)", stroke: "currentColor", strokeWidth: 1.3 })),
      tip(rows, { ...at, title: said }),
    ],
  };
}
