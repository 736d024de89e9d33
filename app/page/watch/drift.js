// The weather that is asked about, against the weather of training.

import { figure } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, rounded, significant, signed } from "../numbers.js";
import { unit, written } from "../units.js";
import { LINES } from "./alerts.js";

const { Plot } = window;
const ALL = "all together";
const ROW_PX = 46;

/** Return rows to draw, in standard deviations of training: a box, and what is asked about; `card`: the live version's. */
export function rowsOf(drift, card) {
  const known = Object.fromEntries((card?.version === drift.model_version ? card.features : []).map((feature) => [feature.name, feature]));
  const rows = Object.entries(drift.features).map(([name, of]) => {
    const in_sd = (value) => (of.training_deviation ? (value - of.training_mean) / of.training_deviation : null);
    const { minimum = null, maximum = null } = known[name] ?? {};
    const [low, high] = [minimum, maximum].map((value) => (value === null ? null : in_sd(value)));
    const spread = of.training_deviation ? of.asked_deviation / of.training_deviation : null;
    return { name, of, minimum, maximum, low, high, shift: of.shift, spread };
  });
  return { rows, distance: drift.distance };
}

/** Return the card; `data`: what `rowsOf` made of the answer, the same object while that is the same. */
export const drifting = (drift, data) => html`<section class="card">
  <h2>Weather asked about</h2>
  ${drift.asked ? html`
    <p>${count(drift.asked, "region")} in the last ${drift.hours} hours, compared with the training of version ${drift.model_version}.
      <strong>${drift.different ? "The weather is another one." : "Nothing that chance would not show."}</strong></p>
    ${drift.reasons.length ? html`<ul>${drift.reasons.map((reason) => html`<li>${reason}</li>`)}</ul>` : nothing}
    ${chart(data)}`
  : html`<p>Nothing was asked about in the last ${drift.hours} hours.</p>`}
</section>`;

const chart = (data) => figure({
  id: "drift",
  title: "How far it is from training",
  sentence: `Bar: what training has seen. Dot: the mean asked about, with its standard deviation. ${ALL}: ${significant(data.distance)}, ${data.distance >= LINES.distance ? "beyond" : "below"} the line at ${LINES.distance}.`,
  data,
  draw,
  height: (data.rows.length + 1) * ROW_PX + 50,
  columns: ["feature", "training from", "to", "mean of training", "mean asked", "shift, standard deviations"],
  rows: () => [
    ...data.rows.map(({ name, of, minimum, maximum, shift }) => [
      `${name}${unit(name) ? ` (${unit(name)})` : ""}`,
      ...[minimum, maximum, of.training_mean, of.asked_mean].map((value) => (value === null ? null : written(name, value))),
      shift === null ? null : signed(shift, 2),
    ]),
    [ALL, null, null, null, null, data.distance === null ? null : rounded(data.distance, 2)],
  ],
});

function draw({ rows, distance }, width) {
  const seen = d3.extent(rows.flatMap(({ low, high, shift, spread }) => [low, high, shift - spread, shift + spread, 0]));
  const domain = [Math.min(-LINES.distance, seen[0]) - 0.3, Math.max(LINES.distance, seen[1], distance ?? 0) + 0.3];
  const inside = rows.filter(({ low }) => low !== null);
  const compared = rows.filter(({ shift }) => shift !== null);
  return {
    height: (rows.length + 1) * ROW_PX + 50, marginLeft: 92, marginRight: 12, marginBottom: 36,
    x: { domain, label: "standard deviations of training", ticks: Math.max(4, Math.floor(width / 80)), grid: true },
    y: { domain: [...rows.map(({ name }) => name), ALL], label: null, padding: 0.35 },
    marks: [
      Plot.barX(inside, { y: "name", x1: "low", x2: "high", fill: "currentColor", fillOpacity: 0.16 }),
      Plot.tickX(rows, { y: "name", x: () => 0, stroke: "currentColor", strokeWidth: 1.5 }),
      Plot.ruleX([LINES.distance], { stroke: "var(--bad)", strokeDasharray: "5 4", strokeWidth: 1.5 }),
      Plot.ruleY(compared, { y: "name", x1: ({ shift, spread }) => shift - spread, x2: ({ shift, spread }) => shift + spread, stroke: "var(--crop-1)", strokeWidth: 2 }),
      Plot.dot(compared, { y: "name", x: "shift", r: 5.5, fill: "var(--crop-1)", stroke: "var(--surface)", strokeWidth: 1.5 }),
      distance === null ? null : Plot.ruleY([ALL], { y: (name) => name, x1: () => 0, x2: () => distance, stroke: "var(--crop-2)", strokeWidth: 2.5 }),
      distance === null ? null : Plot.dot([ALL], { y: (name) => name, x: () => distance, r: 5.5, symbol: "diamond", fill: "var(--crop-2)" }),
    ],
  };
}
