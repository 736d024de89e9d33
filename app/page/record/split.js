// Whose error it was: the model's by itself, and what the forecast of the weather has added or taken away.

import { called, figure, same } from "../figures.js";
import { decimals, short, signed } from "../numbers.js";
import { side } from "./words.js";

const { Plot } = window;
const PARTS = ["the model", "the weather", "together"];
const HEIGHT = 150;

/** Return a crop's chart; null where the parts are not known, or the weather was no forecast. */
export function split(group, colour) {
  const { crop, model_error: model, weather_error: weather, weather_by_feature: features } = group;
  if (model === null || weather === null) return null;
  const places = decimals(Math.max(Math.abs(model), Math.abs(weather)));
  const data = same(`split of ${crop}`, [group, colour], () => ({
    colour, places,
    bars: [[0, model], [model, model + weather], [0, model + weather]].map(([from, to], place) => ({ part: PARTS[place], from, to, tons: to - from })),
  }));
  return figure({
    id: `split of ${crop}`, title: `Parts of the error, ${crop}`, data, draw, height: HEIGHT,
    sentence: `The model by itself: ${side(model, places)}; the weather forecast: ${side(weather, places)}; together: ${side(model + weather, places)}.`,
    columns: ["part", "mean error, tons"],
    rows: () => [
      ...data.bars.map(({ part, tons }) => [part, tons]),
      ...Object.entries(features ?? {}).map(([feature, tons]) => [`of the weather: ${feature}`, tons]),
    ],
  });
}

function draw({ bars, colour, places }, width) {
  const [low, high] = d3.extent([0, ...bars.map(({ to }) => to)]);
  const looks = [{ fill: colour }, { fill: colour, fillOpacity: 0.35, stroke: colour, strokeDasharray: "3 2" }, { fill: "currentColor", fillOpacity: 0.45 }];
  return {
    height: HEIGHT, marginLeft: 84, marginRight: 64, marginTop: 6, marginBottom: 40,
    x: { domain: low === high ? [-1, 1] : [low, high], nice: true, label: "← too high    mean error, t    too low →", labelAnchor: "center", labelArrow: "none", ticks: Math.max(3, Math.floor(width / 90)), tickFormat: short, grid: true },
    y: { domain: PARTS, label: null, tickSize: 0, padding: 0.35 },
    marks: [
      bars.map((bar, place) => called(bar.part, Plot.barX([bar], { x1: "from", x2: "to", y: "part", ...looks[place] }))),
      called("right on average", Plot.ruleX([0], { stroke: "currentColor", strokeWidth: 1.5 })),
      Plot.text(bars, { y: "part", frameAnchor: "right", textAnchor: "start", dx: 6, text: ({ tons }) => signed(tons, places) }),
    ],
  };
}
