// How many yields lay in their intervals, beside how many the intervals promise.

import { called, figure } from "../figures.js";
import { percent } from "../numbers.js";
import { bands, beside, frame, full, heightOf, more, rowsOf } from "./rows.js";
import { held, promise } from "./words.js";

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
      [name, told.inside, told.of, ...shares(told), promise(told), isBelow ? "yes" : "no"]),
  });
}

const shares = ({ inside, of, low, high }) => (low === null ? [null, null, null] : [inside / of, low, high].map((share) => percent(share)));

function draw(data, width) {
  const { drawn, colour } = data;
  const rows = drawn.map(({ key, coverage: told, below_promise: isBelow, name }) => ({ key, name, isBelow, share: told.inside / told.of, ...told }));
  const sure = rows.filter(({ low }) => low !== null);
  const at = { x: "share", y: "key" };
  const below = rows.filter(({ isBelow }) => isBelow);
  return {
    ...frame(data, 66),
    x: { domain: [0, 1], label: "share inside the interval →", tickFormat: (share) => `${100 * share}%`, ticks: width < 420 ? [0, 0.5, 1] : 5, grid: true },
    marks: [
      called("promised", Plot.ruleX([...new Set(rows.map(({ promised }) => promised))], { stroke: "currentColor", strokeDasharray: "5 4", strokeWidth: 1.5 })),
      bands(sure, colour),
      called("inside", Plot.dot(sure.filter(({ isBelow }) => !isBelow), { ...at, ...full(colour) })),
      called("below promise", Plot.dot(below.filter(({ low }) => low !== null), { ...at, r: 6, symbol: "triangle", rotate: 180, fill: "var(--surface)", stroke: "var(--bad)", strokeWidth: 2.2 })),
      Plot.text(below, { x: 0, y: "key", text: () => "below promise", dy: 15, dx: 3, textAnchor: "start", fill: "var(--bad)", fontWeight: 600 }),
      beside(rows, { x: "share", colour, text: ({ inside, of }) => `${inside} of ${of}`, title: (row) => `${row.name}\n${held(row)}${row.isBelow ? "\nbelow promise" : ""}` }),
    ],
  };
}
