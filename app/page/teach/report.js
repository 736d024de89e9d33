// What comes of a retrain, or would: the gate's words crop by crop, errors before and after, and what predictions become.

import { table } from "../figures.js";
import { html, nothing } from "../lit.js";
import { count, decimals, rounded, signed, significant } from "../numbers.js";
import { changed, session } from "../session.js";
import { named, perUnit, unit, written } from "../units.js";

const MOST_ROWS = 200;
/** How many of the service's sentences end: it is said once, below them. */
const WAY_OUT = "; correct them and send them again, or activate the version all the same if they are right";
const opened = new Set();

/** Return it; `before`: the card of the version that was live when it was asked for, null where there was none. */
export function reportOf(report, before) {
  const crops = Object.keys(report.scores);
  const of = reasonsBy(crops, report.reasons);
  const isRejected = report.decision === "rejected";
  return html`<div class="report">
    <p class="verdict ${isRejected ? "bad" : "good"}" role="status"><strong>${verdict(report)}</strong></p>
    <p>${standing(report)} ${report.left_out.map((sentence) => `${sentence}. `)}</p>
    ${of[""].length ? html`<ul>${of[""].map((reason) => html`<li><strong>${reason.replace(WAY_OUT, "").replace(`: ${WAY_OUT.slice(2)}`, "")}</strong></li>`)}</ul>` : nothing}
    <div class="grid-2">${crops.map((crop) => cropOf(crop, report, of[crop], before))}</div>
    ${report.suspicious.length ? suspicious(report.suspicious) : nothing}
    ${isRejected && report.reasons.some((reason) => reason.includes(WAY_OUT.slice(2))) ? html`<p>Correct what is wrong and bring the table again; or, if it is right as it is, make the version live all the same.</p>` : nothing}
    ${report.changes ? changes(report.changes, crops) : nothing}
  </div>`;
}

function verdict({ decision, dry_run: isDry, activated, version }) {
  if (isDry) return decision === "accepted" ? "It would be accepted." : "It would be rejected.";
  const what = decision === "accepted" ? "Accepted" : "Rejected";
  if (activated) return `${what}${decision === "accepted" ? "" : ", and live all the same, as was asked"}: version ${version} ${session.ready?.model_version === version ? "is" : "became"} live.`;
  if (decision === "rejected") return "Rejected: nothing has changed.";
  return `Accepted: ${version === null ? "no version was made" : `version ${version} is there, and not made live`}.`;
}

function standing({ rows: { received, total }, decision, activated, batch }) {
  const all = `${count(total, "row")} in all`;
  const aside = batch && decision === "rejected" && !activated ? " They are set aside in a batch that takes no part in training." : "";
  return received ? `${count(received, "row")} came with it, ${all}.${aside}` : `${all}, all of them stored before.`;
}

/** Return the reasons of each crop, and under "" the others. A crop's name begins its sentences. */
function reasonsBy(crops, reasons) {
  const of = Object.fromEntries([...crops, ""].map((crop) => [crop, []]));
  for (const reason of reasons) {
    const named = crops.filter((crop) => reason.startsWith(`${crop}:`) || reason.startsWith(`${crop} is `));
    of[d3.greatest(named, (crop) => crop.length) ?? ""].push(reason);
  }
  return of;
}

function cropOf(crop, { scores, changes: found, activated }, reasons, before) {
  const names = activated ? ["before", "now"] : ["now", "then"];
  const { new: fresh, old } = scores[crop];
  // What is compared on old rows is what was held out of the fit then, too: the card has it.
  const recorded = before?.crops[crop]?.out_of_fold?.rmse ?? old.current_rmse;
  const pairs = [["new rows", fresh.current_rmse, fresh.candidate_rmse], ["old rows", recorded, old.candidate_rmse]].filter(([, , then]) => then !== null);
  const most = Math.max(...pairs.flatMap(([, was, then]) => [was ?? 0, then]), Number.EPSILON);
  const bar = (name, value, kind) => html`<div><dt>${name}</dt><dd><span class="size ${kind}" aria-hidden="true" .style=${`--size:${(100 * value) / most}%`}></span><span>${significant(value)} t</span></dd></div>`;
  return html`<section class="crop">
    <h3>${crop}</h3>
    ${pairs.length ? html`<p class="fine">Error on rows held out of the fit: the shorter, the better.</p>` : nothing}
    ${pairs.map(([rows, was, then]) => html`<p class="fine rows">${rows}</p>
      <dl class="held-out">${was === null ? nothing : bar(names[0], was, "was")}${bar(names[1], then, "then")}</dl>`)}
    ${reasons.length ? html`<ul class="gate">${reasons.map((reason) => html`<li>${withoutCrop(crop, reason.replace(WAY_OUT, ""))}</li>`)}</ul>` : nothing}
    ${found ? html`<p><strong>${moves(crop, found.regions)}</strong></p>` : nothing}
  </section>`;
}

const withoutCrop = (crop, reason) => (reason.startsWith(`${crop}: `) ? reason.slice(crop.length + 2) : reason);

function moves(crop, regions) {
  const found = regions.map(({ yields }) => yields[crop]).filter(({ new: then }) => then !== null);
  if (!found.length) return "No region has a prediction of it.";
  const where = found.length === 1 ? "on the average weather of the rows" : `on the average weather of ${found.length} regions`;
  const isNew = found.every(({ old }) => old === null);
  const [low, high] = d3.extent(found.filter(({ old }) => isNew || old !== null), ({ old, new: then }) => then - (old ?? 0));
  if (isNew) return `It is new: ${significant(low)} to ${significant(high)} t ${where}.`;
  const size = d3.mean(found, ({ new: then }) => Math.abs(then));
  if (Math.max(-low, high) < size * 1e-6) return "Predictions stay as they are.";
  const places = decimals(Math.max(-low, high));
  return `Predictions move by ${signed(low, places)} to ${signed(high, places)} t ${where}.`;
}

const suspicious = (found) => html`<h3>Rows to look at</h3>
  ${table({
    name: "rows to look at",
    columns: ["row", "region", "crop", "tons", "predicted", "standard errors away"],
    rows: found.slice(0, MOST_ROWS).map(({ row, region, crop, tons, predicted, standard_errors: far }) => [String(row + 1), region, crop, tons, Number(predicted.toPrecision(4)), Number(far.toPrecision(3))]),
  })}
  ${found.length > MOST_ROWS ? html`<p class="fine">The first ${MOST_ROWS} of ${found.length.toLocaleString("en")}.</p>` : nothing}`;

const changes = ({ coefficients, regions }, crops) => html`
  ${fold("What each region's prediction becomes", () => regionsTable(regions, crops))}
  ${fold("What the weather counts", () => coefficientsTable(coefficients, crops))}`;

/** Return something that is drawn when it is opened. */
function fold(title, content) {
  const toggle = ({ target }) => {
    if (target.open === opened.has(title)) return;
    if (target.open) opened.add(title);
    else opened.delete(title);
    changed();
  };
  return html`<details class="numbers" ?open=${opened.has(title)} @toggle=${toggle}><summary>${title}</summary>${opened.has(title) ? content() : nothing}</details>`;
}

function regionsTable(regions, crops) {
  const features = session.live?.features.map(({ name }) => name) ?? ["temperature", "rainfall", "humidity"];
  const places = (old, then) => decimals(Math.max(Math.abs(old ?? 0), Math.abs(then)) / 100);
  const cells = ({ old, new: then }) => (then === null ? [null, null, null] : [old === null ? null : rounded(old, places(old, then)), rounded(then, places(old, then)), old === null ? null : signed(then - old, places(old, then))]);
  return html`<div class="aligned">${table({
    name: "predictions by region",
    columns: ["region", ...features.map(named), ...crops.flatMap((crop) => [`${crop} now`, `${crop} then`, "change"])],
    rows: regions.slice(0, MOST_ROWS).map((row) => [row.region ?? "without a name", ...features.map((name) => (row[name] === null ? null : written(name, row[name]))), ...crops.flatMap((crop) => cells(row.yields[crop]))]),
  })}</div><p class="fine">Tons, on each region's average weather in training.${regions.length > MOST_ROWS ? ` The first ${MOST_ROWS} of ${regions.length} regions.` : ""}</p>`;
}

function coefficientsTable(coefficients, crops) {
  const value = (feature, weight) => (weight === null ? null : Number(perUnit(feature, weight).toPrecision(4)));
  return table({
    name: "weights",
    columns: ["crop", "tons for each", "now", "then"],
    rows: crops.flatMap((crop) => Object.entries(coefficients[crop].weights).map(([feature, { old, new: then }]) => [crop, `${unit(feature)} of ${feature}`, value(feature, old), value(feature, then)])),
  });
}
