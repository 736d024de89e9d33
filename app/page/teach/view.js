// Teach: a table is brought, looked at, and learned from, in this order; and taken back.

import { faults } from "../faults.js";
import { figure } from "../figures.js";
import { html, live, nothing } from "../lit.js";
import { radios, stale } from "../pieces.js";
import { changed, session } from "../session.js";
import { batches, known } from "./batches.js";
import { confirmDialog } from "./confirm.js";
import { lookBack, outcome } from "./outcome.js";
import { reportOf } from "./report.js";
import { keyOf, retrain } from "./sending.js";
import { brought, offerCrops, tableQuery, theTable } from "./table.js";

const { Plot } = window;
/** What a retrain on what is stored is called; it has no body. */
const STORED = { name: "what is in use", body: null };
const HOW = { if_better: "if the gate accepts it", always: "whatever the gate says", never: "not: only store the version" };
const STAGES = { reading: "Reading what is stored", fitting: "Fitting", scoring: "Comparing with the live version", publishing: "Writing the version", storing: "Storing the rows", activating: "Making it live" };

/** How it is to be learned. `anew`: how often it was sent again on purpose. */
const order = { activate: "if_better", note: "", anew: 0 };
/** A dry run and a retrain: null until they begin. Each has `{flying, waiting, stage, points, report, fault, before, version}`. */
let review = null;
let run = null;

export const view = {
  title: "Teach",
  needs: "the service",

  render() {
    const { access } = session;
    const canWrite = access?.write && access.retrain;
    const isLocked = Boolean(run?.flying);
    if (canWrite && brought.table && !review) lookFirst();
    return html`
      ${access && !access.retrain ? servesOnly() : [theTable({ isLocked, isDone: Boolean(run?.report), bring, again: lookFirst }), canWrite && brought.table ? [whatWould(), howAndGo(), run?.report ? outcome(run, { sendAnew, bring }) : nothing] : nothing]}
      ${batches({ isLocked, again: () => bring({ ...STORED }) })}
      ${confirmDialog()}`;
  },
};

const servesOnly = () => html`<section class="card"><h2>This service predicts, and does not learn</h2>
  <p>Training needs torch, which is not installed here. Retrain where it is, on the same model store: what becomes live there becomes live here.</p></section>`;

function bring(table) {
  if (run?.flying) return; // what is being learned stays in sight until it is known what has come of it
  review?.flying?.abort();
  Object.assign(brought, { table, units: {}, crops: null, columns: null });
  Object.assign(order, { activate: "if_better", note: "", anew: 0 });
  review = run = null;
  changed();
  focusOn(table ? "#teach-table" : "#teach-file");
}

/** Take who goes by keyboard along: what they have just used is no longer there. */
const focusOn = (place) => requestAnimationFrame(() => requestAnimationFrame(() => document.querySelector(place)?.focus()));

// What would change

const query = (more) => ({ ...tableQuery(), ...more });

/** Make the call of a dry run or a retrain; `keyed`: returns its idempotency key. */
async function perform(work, options, keyed = () => null) {
  const table = brought.table.body ? brought.table : null;
  const tell = ({ waiting, stage, epoch, loss }) => {
    work.waiting = waiting ?? null;
    work.stage = stage ?? work.stage;
    // A call that is made again begins again.
    if (loss) work.points = [...work.points.filter((point) => point.epoch < epoch), { epoch, loss }];
    changed();
  };
  changed();
  try {
    work.report = await retrain({ table, query: options, key: await keyed(), signal: work.flying.signal, tell });
  } catch (error) {
    if (error.name !== "AbortError") work.fault = error;
    else if (work === run) run = null;
  }
  work.flying = work.waiting = null;
  changed();
}

const begun = () => ({ flying: new AbortController(), waiting: null, stage: null, points: [], report: null, fault: null, before: session.live, version: session.ready?.model_version });

async function lookFirst() {
  review?.flying?.abort();
  run = null;
  const mine = (review = begun());
  await perform(mine, query({ dry_run: true }));
  if (mine === review && mine.fault?.errors && offerCrops(mine.fault)) lookFirst();
}

function whatWould() {
  if (!review || run?.report) return nothing;
  return html`<section class="card" aria-labelledby="teach-review" aria-busy=${review.flying ? "true" : "false"}>
    <h2 id="teach-review">What would change</h2>
    ${review.report && !run?.flying ? stale(review.version, lookFirst) : nothing}
    ${review.flying ? underWay(review) : nothing}
    ${review.fault ? faults(review.fault, lookFirst) : nothing}
    ${review.report ? reportOf(review.report, review.before) : nothing}
  </section>`;
}

const underWay = (work, stop) => html`<div class="under-way">
  <label>${work.waiting ? nothing : `${STAGES[work.stage] ?? "Sent to the service"} …`}<progress aria-label="under way"></progress></label>
  <p role="status">${work.waiting ?? nothing}</p>
  ${stop ? html`<button type="button" class="secondary outline" @click=${stop}>Stop asking</button>` : nothing}
</div>`;

function sendAnew() {
  order.anew += 1;
  learn();
}

// Learn from it

function howAndGo() {
  if (!review?.report || run?.report) return nothing;
  const isRejected = review.report.decision === "rejected";
  return html`<section class="card" aria-labelledby="teach-go">
    <h2 id="teach-go" tabindex="-1">Retrain</h2>
    ${run?.flying ? [underWay(run, run.waiting ? () => run.flying.abort() : null), lossOf(run)] : html`
      ${run?.fault ? faults(run.fault, learn) : nothing}
      ${radios({ name: "activate", legend: "Make the new version live", choices: Object.entries(HOW), chosen: order.activate, choose: (how) => ((order.activate = how), changed()) })}
      <label for="teach-note">Note <small>why, for the records</small></label>
      <input id="teach-note" type="text" maxlength="1000" autocomplete="off" .value=${live(order.note)} @input=${(event) => ((order.note = event.target.value), changed())}>
      <p class="fine">${meant(isRejected)}</p>
      <div class="actions"><button type="button" @click=${learn}>Retrain</button></div>`}
  </section>`;
}

function meant(isRejected) {
  if (order.activate !== "always" && review.report.reasons.some((reason) => reason.startsWith("nothing has changed since"))) return "There is nothing new to learn: no version is made.";
  const kept = brought.table.body ? "the rows are stored" : "a version is made";
  if (order.activate === "never") return `Then ${kept}, and what is live stays as it is.`;
  if (order.activate === "always") return `Then ${kept}, and the new version is live at once${isRejected ? ", although the gate rejects it" : ""}.`;
  return isRejected ? "The gate rejects it: the rows are set aside, and what is live stays as it is." : `Then ${kept}, and the new version is live at once.`;
}

async function learn() {
  const options = query({ activate: order.activate, note: order.note.trim() });
  const seen = new Set(known()?.map(({ batch }) => batch));
  const mine = (run = begun());
  changed();
  focusOn("#teach-go");
  await perform(mine, options, () => keyOf(brought.table, options, order.anew));
  if (!mine.report) return;
  focusOn("#teach-done");
  await lookBack(mine, seen);
}

const lossOf = (work) =>
  work.points.length < 2 ? nothing : figure({
    id: "loss", title: "Loss", sentence: `tons², epoch ${work.points.at(-1).epoch.toLocaleString("en")}`, data: work.points, draw: drawLoss, height: 140,
    columns: ["epoch", "loss"], rows: () => work.points.map(({ epoch, loss }) => [epoch, loss]),
  });

function drawLoss(points) {
  return {
    height: 140, marginLeft: 56, x: { label: "epoch" }, y: { type: "log", label: null, ticks: 3, tickFormat: "~s", grid: true },
    marks: [Plot.lineY(points, { x: "epoch", y: "loss", stroke: "var(--pico-primary)", strokeWidth: 2 })],
  };
}
