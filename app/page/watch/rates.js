// What the service does, look by look: a number for the last interval, and how it came to it.

import { DASHES, SYMBOLS, colourOf, figure, table } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, percent, significant } from "../numbers.js";
import { LINES } from "./alerts.js";
import { slowest } from "./series.js";

const { Plot } = window;
const HEIGHT = 142;
const SHOWN_CROPS = 6;
/** A chart shows at least so long, that it does not run in the first looks. */
const LEAST_MS = 60_000;

/** Write how long something took. */
function duration(seconds) {
  if (seconds === null) return "–";
  return seconds < 1 ? `${significant(1000 * seconds, 2)} ms` : `${significant(seconds, 2)} s`;
}

const share = (value) => (value === null ? null : percent(value, value > 0 && value < 0.1 ? 1 : 0));
const clock = (at) => at.toLocaleTimeString("en-GB");

/** Return the four cards; `points`: figures of each interval, `lately`: of the last minutes together. */
export function rates(points, lately) {
  const now = points.all.at(-1);
  const crops = Object.keys(lately.outside).slice(0, SHOWN_CROPS);
  return html`<div class="grid-2">
    ${card("Requests", points.rate, {
      now: html`<strong>${significant(now.rate, 2)}</strong> a second`,
      then: `${count(lately.requests, "request")} in ${span(lately)}.`,
      sentence: "Requests a second.", columns: ["time", "requests", "a second"], cells: (point) => [point.requests, point.rate],
    })}
    ${card("Slow predictions", points.slow, {
      now: now.slow === null ? "no predictions in this interval" : html`99 of 100 within <strong>${duration(now.slow)}</strong>`,
      then: lately.slow === null ? `None in ${span(lately)}.` : `In ${span(lately)}: within ${duration(lately.slow)}.`,
      sentence: `Of calls of /predict, the time that 99 of 100 took at most. Line: ${duration(LINES.slow)}.`, columns: ["time", "seconds"], cells: (point) => [point.slow],
    })}
    ${card("Failures", points.failing, {
      now: now.failing === null ? "no requests in this interval" : html`<strong>${share(now.failing)}</strong> of requests`,
      then: lately.failing === null ? `None in ${span(lately)}.` : `${count(lately.failed, "failure")} in ${span(lately)}${lately.failed ? `: ${share(lately.failing)}` : ""}.`,
      sentence: "Share that was answered 5xx, an error of the service's own. Line: 1%.", columns: ["time", "failures", "share"], cells: (point) => [point.failed, share(point.failing)],
    })}
    ${card("Outside training", points.outside, {
      now: now.predicted ? html`${crops.map((crop) => (now.outside[crop] ?? null) === null ? nothing : html`<span class="keyed" .style=${`--crop:${colourOf(crops, crop)}`}><i class="swatch" aria-hidden="true"></i>${crop} <strong>${share(now.outside[crop])}</strong></span> `)}` : "no predictions in this interval",
      then: lately.predicted ? `In ${span(lately)}: ${crops.filter((crop) => lately.outside[crop] !== null).map((crop) => `${crop} ${share(lately.outside[crop])}`).join(", ")}.` : `None in ${span(lately)}.`,
      sentence: "Share of predictions for weather that training has not seen. Line: 20%.", columns: ["time", ...crops], cells: (point) => crops.map((crop) => share(point.outside[crop] ?? null)),
    })}
  </div>`;
}

const span = ({ seconds }) => (seconds < 90 ? `the last ${Math.max(1, Math.round(seconds))} s` : `the last ${Math.round(seconds / 60)} min`);

const card = (title, data, { now, then, sentence, columns, cells }) => html`<section class="card rate">
  <h2>${title}</h2>
  <p class="now">${now}</p>
  <p class="fine">${then}</p>
  ${figure({ id: `watch ${title}`, title: `${title} over time`, sentence, data, draw, height: HEIGHT, columns, rows: () => data.points.map((point) => [clock(point.at), ...cells(point)]).reverse() })}
</section>`;

/** Return what the four charts draw, one object each: `points` are figures of intervals. */
export function drawnOf(points, crops) {
  const one = (name, of, options) => ({ points, lines: [{ name, colour: "var(--crop-2)", of }], ...options });
  const shown = crops.slice(0, SHOWN_CROPS);
  return {
    all: points,
    rate: one("requests a second", (point) => point.rate, { label: "a second", least: 1 }),
    slow: one("99 of 100", (point) => (point.slow === null ? NaN : 1000 * point.slow), { label: "ms", least: 10, line: 1000 * LINES.slow }),
    failing: one("5xx", (point) => (point.failing === null ? NaN : 100 * point.failing), { label: "%", least: 2, line: 100 * LINES.failing }),
    outside: {
      points, label: "%", least: 30, line: 100 * LINES.outside,
      lines: shown.map((name, place) => ({ name, colour: colourOf(shown, name), place, of: (point) => ((point.outside[name] ?? null) === null ? NaN : 100 * point.outside[name]) })),
    },
  };
}

function draw({ points, lines, label, least, line }, width) {
  const most = d3.max(lines.flatMap(({ of }) => points.map(of).filter(Number.isFinite))) ?? 0;
  const top = Math.max(most * 1.1, least);
  const x = (point) => point.at;
  return {
    height: HEIGHT, marginLeft: 40, marginRight: 10, marginTop: 16, marginBottom: 36,
    x: { type: "time", label: null, domain: [new Date(Math.min(points[0].at, points.at(-1).at - LEAST_MS)), points.at(-1).at], ticks: Math.max(2, Math.floor(width / 110)) },
    y: { domain: [0, top], label, ticks: 3, grid: true },
    marks: [
      line !== undefined && line <= top ? Plot.ruleY([line], { stroke: "var(--bad)", strokeDasharray: "5 4", strokeWidth: 1.5 }) : null,
      lines.map(({ name, colour, of, place = 0 }) => [
        Plot.lineY(points, { x, y: of, stroke: colour, strokeWidth: 1.5, strokeDasharray: DASHES[place] || null }),
        Plot.dot(points, { x, y: of, r: 1.8, fill: colour, symbol: SYMBOLS[place] }),
      ]),
    ],
  };
}

/** Return the calls of some minutes as a table, the busiest first. */
export function calls(whole) {
  const by = d3.groups(whole.calls, ({ method, route }) => `${method} ${route}`);
  const total = (of) => d3.sum(of, ({ count: number }) => number);
  const rows = by
    .map(([name, of]) => [name, total(of), duration(slowest(of, 0.5)), duration(slowest(of)), total(of.filter(({ status }) => status.startsWith("4"))), total(of.filter(({ status }) => status.startsWith("5")))])
    .sort((one, other) => other[1] - one[1]);
  return html`<section class="card"><h2>By call, in ${span(whole)}</h2>
    ${rows.length ? table({ name: "calls", columns: ["call", "requests", "half within", "99 of 100 within", "refused (4xx)", "failed (5xx)"], rows }) : html`<p>No requests in this time.</p>`}
    <p class="fine">Without health, /metrics and /models/live/drift, which this view and whoever watches the service ask again and again. What else this page asks is counted.</p>
  </section>`;
}
