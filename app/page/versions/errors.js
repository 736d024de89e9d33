// How the error of each crop went from version to version.

import { called, colourOf, figure, same, tip } from "../figures.js";
import { html, nothing } from "../lit.js";
import { heldOutBriefly } from "../model/words.js";
import { decimals, rounded, short, significant } from "../numbers.js";
import { own } from "../own.js";

const { Plot } = window;
const HEIGHT = 210;
const WIDE = 6;
const MOST = 6;
const LOOKS = {
  accepted: { symbol: "circle", isFull: true, r: 4.5 },
  rejected: { symbol: "times", isFull: false, r: 5 },
  live: { symbol: "star", isFull: true, r: 8 },
};
/** What a version is, and the sign for it in text. */
export const SIGNS = { live: "★", accepted: "●", rejected: "✕", damaged: "⚠" };
export const stateOf = (entry) => (entry.damaged ? "damaged" : entry.live ? "live" : entry.decision ?? "accepted");

/** Return a chart for each crop, at most six, once there are two versions; `versions`: entries of the list. */
export function errors(versions, crops) {
  if (versions.filter((entry) => !entry.damaged).length < 2) return nothing;
  return html`<section class="card"><h2>Out-of-fold error by version</h2>
    <p class="fine legend"><span>★ live</span><span>● accepted</span><span>✕ rejected</span> Lower is better. Versions differ in their rows, too.</p>
    <div class="small-charts">${crops.slice(0, MOST).map((crop) => chart(crop, crops, versions))}</div>
    ${crops.length > MOST ? html`<p class="fine">The first ${MOST} of ${crops.length} crops; each version has those of all.</p>` : nothing}
  </section>`;
}

function chart(crop, crops, versions) {
  const data = same(`errors of ${crop}`, [versions, crops], () => pointsOf(crop, crops, versions));
  if (!data.points.length) return nothing;
  const newest = data.points.find((point) => point.state === "live") ?? data.points[0];
  const ways = new Set(data.points.map((point) => point.by));
  const mixed = ways.size > 1 ? " Rows were held out in several ways: compare those of one way only." : "";
  return figure({
    id: `errors of ${crop}`, title: crop, data, draw, height: HEIGHT,
    sentence: `${newest.state === "live" ? "The live one is" : `Version ${newest.version} is`} typically off by ${rounded(newest.rmse, decimals(newest.rmse))} t.${mixed}`,
    columns: ["version", "state", "RMSE, tons", "held out"],
    rows: () => data.points.map((point) => [point.version, point.state, point.rmse, heldOutBriefly(point.by)]),
  });
}

function pointsOf(crop, crops, versions) {
  const known = versions.filter((entry) => own(entry.out_of_fold, crop));
  const points = known.map((entry) => ({ version: entry.version, place: Number(entry.version), state: stateOf(entry), ...entry.out_of_fold[crop] }));
  const [low, high] = d3.extent(points, (point) => point.rmse);
  return { points, isWide: low > 0 && high > WIDE * low, colour: colourOf(crops, crop) };
}

function draw({ points, isWide, colour }, width) {
  const kept = points.filter((point) => point.state !== "rejected");
  const places = d3.extent(points, (point) => point.place);
  const at = { x: "place", y: "rmse" };
  const title = (point) => `version ${point.version}, ${point.state}\noff by ${significant(point.rmse)} t, held out ${heldOutBriefly(point.by)}`;
  return {
    height: HEIGHT, marginLeft: 50, marginRight: 14, marginTop: 20, marginBottom: 32, inset: 9,
    x: { label: "version →", domain: places[0] === places[1] ? [places[0] - 1, places[1] + 1] : places, ticks: d3.ticks(...places, Math.floor(width / 60)).filter(Number.isInteger), tickFormat: "d" },
    y: { label: `↑ RMSE, tons${isWide ? " (log)" : ""}`, type: isWide ? "log" : "linear", grid: !isWide, ticks: 4, tickFormat: short, nice: !isWide },
    marks: [
      called("versions that were accepted", Plot.lineY(kept, { ...at, stroke: colour, strokeOpacity: 0.5 })),
      Object.entries(LOOKS).map(([state, { symbol, isFull, r }]) =>
        called(state, Plot.dot(points.filter((point) => point.state === state), { ...at, symbol, r, fill: isFull ? colour : "none", stroke: isFull ? "var(--surface)" : "currentColor", strokeWidth: isFull ? 1 : 1.8 }))),
      tip(points, { ...at, title }),
    ],
  };
}
