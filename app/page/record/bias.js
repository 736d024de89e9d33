// How far off predictions were on average, and on which side.

import { called, figure } from "../figures.js";
import { count, short } from "../numbers.js";
import { bands, beside, frame, full, heightOf, more, rowsOf } from "./rows.js";
import { side } from "./words.js";

const { Plot } = window;

/** Return a crop's chart; `of`: `{crop, colour, whole}`. */
export function bias(grouped, of) {
  const { crop } = of;
  const data = rowsOf(`bias of ${crop}`, grouped, of, (group) => group.bias !== null);
  if (!data.rows.length) return null;
  const { by: [by] } = grouped;
  return figure({
    id: `bias of ${crop}`, title: `Mean error, ${crop}`, data, draw, height: heightOf(data),
    sentence: `${told(data.rows)}${more(data, by)}`,
    columns: [by, "yields", "seasons", "mean error, tons", "low", "high", "RMSE, tons", "low", "high", "MAE, tons"],
    rows: () => data.listed.map(({ name, n, seasons, bias: mean, rmse, mae }) => [name, n, seasons, ...banded(mean), ...banded(rmse), mae]),
  });
}

const banded = (figures) => (figures ? [figures.tons, figures.low, figures.high] : [null, null, null]);

/** Say which groups chance does not explain. */
function told(rows) {
  const sure = rows.filter(({ bias: { low, high } }) => low !== null && (low > 0 || high < 0));
  if (!sure.length) return "No group is off by more than chance explains.";
  const farthest = sure.reduce((one, other) => (Math.abs(other.bias.tons) > Math.abs(one.bias.tons) ? other : one));
  return `Farthest off: ${farthest.name}, ${side(farthest.bias.tons)}.`;
}

function draw(data, width) {
  const { drawn, colour } = data;
  const rows = drawn.map(({ key, name, n, bias: { tons, low, high } }) => ({ key, name, n, tons, low, high }));
  const sure = rows.filter(({ low }) => low !== null);
  const domain = d3.extent([0, ...rows.flatMap(({ tons, low, high }) => [tons, low ?? tons, high ?? tons])]);
  return {
    ...frame(data, 66),
    x: { domain: domain[0] === domain[1] ? [-1, 1] : domain, nice: true, label: width < 420 ? "← too high    t    too low →" : "← too high    reported − predicted, t    too low →", labelAnchor: "center", labelArrow: "none", ticks: Math.max(3, Math.floor(width / 90)), tickFormat: short, grid: true },
    marks: [
      called("right on average", Plot.ruleX([0], { stroke: "currentColor", strokeWidth: 1.5 })),
      bands(sure, colour),
      called("mean error", Plot.dot(sure, { x: "tons", y: "key", ...full(colour) })),
      beside(rows, { x: "tons", colour, text: ({ n }) => `n = ${n}`, title: (row) => `${row.name}\n${side(row.tons)} on ${count(row.n, "yield")}` }),
    ],
  };
}
