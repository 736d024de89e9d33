// What each feature does to a yield: its coefficient, with the interval that chance leaves it.

import { called, numbersOf, same } from "../figures.js";
import { html, nothing } from "../lit.js";
import { decimals, rounded, short, signed } from "../numbers.js";
import { session } from "../session.js";
import { named, perUnit, unit } from "../units.js";
import { t95 } from "./student.js";

const { Plot } = window;
const ROW = 22;
/** In what coefficients can be told; `deviation` only where it is known. */
export const SCALES = { unit: "per unit", deviation: "per standard deviation", range: "over all of training" };
const MARKS = [{ symbol: "circle", fill: true, dash: "" }, { symbol: "diamond", fill: false, dash: "4 3" }];

/** Return the lines of a crop that coefficients are told of: the common one, and one beside regions and seasons. */
export function lines(crop) {
  const common = { name: "all rows alike", weights: crop.weights, errors: crop.standard_errors?.weights, degrees: crop.degrees_of_freedom };
  const { effects } = crop;
  if (!effects?.weights) return [common];
  const beside = { name: "regions and seasons taken apart", weights: effects.weights, errors: effects.standard_errors?.weights, degrees: effects.degrees_of_freedom };
  return [common, beside];
}

/**
 * Return the coefficients of one line or two, a row of it for each feature.
 *
 * `features`: those of the card. `of`: lines, `{name, weights, errors, degrees}`. `scale`: one of SCALES.
 * `deviations`: by feature, in the service's units. `remarks`: by feature, why nothing can be told.
 */
export function coefficients({ id, crop, features, of, scale, deviations, remarks = {}, colour }) {
  const rows = same(`${id} rows`, [crop, features, scale, deviations, session.units, ...of.map((line) => line.weights)], () => rowsOf(features, of, scale, deviations));
  const columns = ["feature", "line", scale === "unit" ? "tons per unit" : "tons", "low", "high"];
  const flat = () => rows.flatMap((row) => row.marks.map((mark) => [named(row.feature), mark.name, mark.tons, mark.low, mark.high]));
  return html`<figure class="chart coefficients">
    ${of.length > 1 ? html`<p class="fine legend">${of.map((line, place) => html`<span>${place ? "◇" : "●"} ${line.name}</span>`)}</p>` : nothing}
    ${rows.map((row) => html`<div class="coefficient" .style=${`--crop:${colour}`}>
      <p><strong>${row.feature}</strong> <span class="fine">${remarks[row.feature] ? nothing : per(row.feature, scale)}</span>
        ${remarks[row.feature] ? html`<em class="fine">${remarks[row.feature]}</em>` : row.marks.map((mark, place) => said(mark, of.length > 1 ? (place ? "◇ " : "● ") : ""))}</p>
      ${remarks[row.feature] ? nothing : html`<orchard-chart name=${`coefficient of ${row.feature}`} .style=${`min-height:${height(row.marks)}px`}
        .draw=${draw} .data=${same(`${id} ${row.feature}`, [row, colour], () => ({ ...row, colour }))}></orchard-chart>`}
    </div>`)}
    ${numbersOf({ id, title: `coefficients of ${crop}`, columns, rows: flat })}
  </figure>`;
}

const PER = {
  unit: (feature) => `each ${unit(feature)} more`,
  deviation: () => "one standard deviation more",
  range: () => "from the least to the most",
};
const per = (feature, scale) => PER[scale](feature);

function said({ tons, low, high }, mark) {
  const places = low === null ? decimals(Math.abs(tons) / 100) : decimals((high - low) / 2);
  return html`<span class="value"><span aria-hidden="true">${mark}</span><strong>${signed(tons, places)} t</strong>
    ${low === null ? html`<small>no interval can be told</small>` : html`<small>(${rounded(low, places)} to ${rounded(high, places)})</small>`}
    ${low !== null && low <= 0 && high >= 0 ? html`<small class="maybe">may be nothing</small>` : nothing}</span>`;
}

function rowsOf(features, of, scale, deviations) {
  const rows = features.map((feature) => ({ feature: feature.name, marks: of.map((line) => mark(line, feature, scale, deviations)) }));
  const seen = (marks) => d3.extent([0, ...marks.flatMap((each) => [each.tons, each.low ?? 0, each.high ?? 0])]);
  const whole = seen(rows.flatMap((row) => row.marks));
  // Units are not alike, so that each feature has its own axis; else one for all.
  return rows.map((row) => ({ ...row, domain: scale === "unit" ? seen(row.marks) : whole }));
}

function mark(line, feature, scale, deviations) {
  const { name } = feature;
  const by = { unit: perUnit(name, 1), deviation: deviations?.[name], range: feature.maximum - feature.minimum }[scale] ?? NaN;
  const tons = (line.weights[name] ?? 0) * by;
  const error = line.errors?.[name];
  const margin = error === undefined || !(line.degrees >= 1) ? null : t95(line.degrees) * error * by;
  return { name: line.name, tons, low: margin === null ? null : tons - margin, high: margin === null ? null : tons + margin };
}

const height = (marks) => 30 + ROW * marks.length;

function draw({ marks, domain, colour }, width) {
  const known = marks.filter((each) => each.low !== null);
  const [low, high] = domain[0] === domain[1] ? [-1, 1] : domain;
  return {
    height: height(marks), marginLeft: 22, marginRight: 22, marginTop: 4, marginBottom: 24,
    x: { label: null, domain: [low, high], nice: true, ticks: Math.max(2, Math.floor(width / 90)), tickFormat: short, grid: true },
    y: { axis: null, domain: marks.map((each) => each.name), type: "point", padding: 0.5 },
    marks: [
      Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
      marks.map((each, place) => {
        const { symbol, fill, dash } = MARKS[place % MARKS.length];
        return [
          called("interval of 95%", Plot.link(known.filter((one) => one === each), { x1: "low", x2: "high", y: "name", stroke: colour, strokeWidth: 3, strokeDasharray: dash, strokeLinecap: "round" })),
          called("coefficient", Plot.dot([each], { x: "tons", y: "name", symbol, r: 5.5, fill: fill ? colour : "var(--surface)", stroke: fill ? "var(--surface)" : colour, strokeWidth: fill ? 1.5 : 2 })),
        ];
      }),
    ],
  };
}
