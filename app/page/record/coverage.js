// How many yields lay in their intervals, beside how many the intervals promise.

import { called, figure } from "../figures.js";
import { percent } from "../numbers.js";
import { frame, heightOf, more, rowsOf } from "./rows.js";
import { held } from "./words.js";

const { Plot } = window;

/** Return a crop's chart, null where no yield had an interval; `of`: `{crop, colour, whole}`. */
export function coverage(grouped, of) {
  const { crop, whole } = of;
  const data = rowsOf(`coverage of ${crop}`, grouped, of, (group) => group.coverage !== null);
  if (!data.rows.length) return null;
  const { by: [by] } = grouped;
  return figure({
    id: `coverage of ${crop}`, title: `Coverage, ${crop}`, data, draw, height: heightOf(data),
    sentence: `${whole?.coverage ? `${held(whole.coverage)}.` : ""}${more(data, by)}`,
    columns: [by, "inside", "of", "share", "low", "high", "promised", "below promise"],
    rows: () => data.listed.map(({ name, coverage: told, below_promise: isBelow }) =>
      [name, told.inside, told.of, ...shares(told), percentOf(told.promised), isBelow ? "yes" : "no"]),
  });
}

const percentOf = (share) => percent(share, 1).replace(".0%", "%");
const shares = ({ inside, of, low, high }) => (low === null ? [null, null, null] : [inside / of, low, high].map((share) => percent(share)));

function draw(data, width) {
  const { drawn, colour } = data;
  const rows = drawn.map(({ key, coverage: told, below_promise: isBelow, name }) => ({ key, name, isBelow, share: told.inside / told.of, ...told }));
  const sure = rows.filter(({ low }) => low !== null);
  const at = { x: "share", y: "key" };
  const dots = (name, some, look) => called(name, Plot.dot(some, { ...at, ...look }));
  return {
    ...frame(data, 66),
    x: { domain: [0, 1], label: "share inside the interval →", tickFormat: (share) => `${100 * share}%`, ticks: width < 420 ? [0, 0.5, 1] : 5, grid: true },
    marks: [
      called("promised", Plot.ruleX([...new Set(rows.map(({ promised }) => promised))], { stroke: "currentColor", strokeDasharray: "5 4", strokeWidth: 1.5 })),
      called("band of 95%", Plot.link(sure, { x1: "low", x2: "high", y: "key", stroke: colour, strokeWidth: 3, strokeOpacity: 0.7, strokeLinecap: "round" })),
      dots("inside", sure.filter(({ isBelow }) => !isBelow), { r: 5.5, fill: colour, stroke: "var(--surface)", strokeWidth: 1.5 }),
      dots("below promise", sure.filter(({ isBelow }) => isBelow), { r: 6, symbol: "triangle", rotate: 180, fill: "var(--surface)", stroke: "var(--bad)", strokeWidth: 2.2 }),
      dots("too few to tell", rows.filter(({ low }) => low === null), { r: 4, fill: "var(--surface)", stroke: colour, strokeWidth: 1.5 }),
      Plot.text(rows.filter(({ isBelow }) => isBelow), { x: 0, y: "key", text: () => "below promise", dy: 15, dx: 3, textAnchor: "start", fill: "var(--bad)", fontWeight: 600 }),
      Plot.text(rows, { y: "key", frameAnchor: "right", textAnchor: "start", dx: 12, text: ({ inside, of }) => `${inside} of ${of}` }),
      Plot.tip(rows, Plot.pointer({ ...at, title: (row) => `${row.name}\n${held(row)}${row.isBelow ? "\nbelow promise" : ""}`, fill: "var(--surface)", stroke: "var(--line)" })),
    ],
  };
}
