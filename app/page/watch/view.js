// Watch: how the service is, for who runs it. It looks each 5 s while it can be seen.

import { Problem, address, callText, curl, get } from "../calls.js";
import { html, nothing } from "../lit.js";
import { ago, count, moment, significant } from "../numbers.js";
import { curlOf, loading, problem } from "../pieces.js";
import { changed, session } from "../session.js";
import { alerts, recent } from "./alerts.js";
import { drifting, rowsOf } from "./drift.js";
import { calls, drawnOf, rates } from "./rates.js";
import { between, figuresOf, kept, read, together } from "./series.js";

const POLLED_MS = 5_000;
const LATE_MS = 3 * POLLED_MS;
const DECISIONS = { accepted: "accepted", rejected: "rejected by the gate", dry_run: "tried only (dry run)", failed: "failed" };
const LINKS = { docs: "API documentation", metrics: "Metrics", "openapi.json": "OpenAPI document", "grafana.json": "Grafana dashboard" };

let sample = null;
let intervals = [];
let drawn = null;
let lately = null;
let drift = null;
let drifted = null;
let fault = null;
let stop = null;

export const view = {
  title: "How it runs",
  needs: "nothing",

  open() {
    if (!stop) look();
  },

  close() {
    stop?.();
    stop = null;
  },

  render() {
    if (fault && !sample) return problem(fault, restart);
    if (!sample) return loading("the metrics", 500);
    const told = alerts(sample, intervals, drift);
    return html`
      ${fault && fault.code !== "offline" ? problem(fault, restart) : nothing}
      ${new Date() - sample.at > LATE_MS ? html`<p class="banner">Seen ${ago(sample.at)} ago.</p>` : nothing}
      <div role="status">
        ${told.map(({ kind, text }) => html`<p class="banner ${kind}">${text}</p>`)}
        ${told.length ? nothing : html`<p class="banner good">Nothing needs attention.</p>`}
        ${intervals.some(({ isRestart }) => isRestart) ? html`<p class="banner">The service was started anew while this was watched: its counters have begun again.</p>` : nothing}
      </div>
      <div class="grid-2">${state()} ${process()}</div>
      ${drawn ? html`${rates(drawn, figuresOf(lately))} ${calls(lately)}` : html`<section class="card next">Rates are told between two looks: the next one is in 5 s.</section>`}
      <div class="grid-2">
        ${drift ? drifting(drift, drifted) : html`<section class="card"><h2>Weather asked about</h2><p>Without a model there is nothing to compare with.</p></section>`}
        <div>
          ${retrains()}
          <section class="card">
            <h2>Elsewhere</h2>
            <ul class="links">${Object.entries(LINKS).map(([path, name]) => html`<li><a href=${address(path).href}>${name}</a></li>`)}</ul>
            <p class="fine">This keeps ten minutes, in this page. Prometheus keeps more, and has rules that tell you: <code>deploy/prometheus/alerts.yml</code>.</p>
            ${curlOf([curl("GET", "metrics"), curl("GET", "models/live/drift")].join("\n"))}
          </section>
        </div>
      </div>`;
  },
};

function state() {
  const { ready } = session;
  return html`<section class="card">
    <h2>State</h2>
    <p class="now"><strong>${ready.status}</strong>${ready.model_version ? html`, version ${ready.model_version}` : nothing}</p>
    ${ready.details.length ? html`<ul>${ready.details.map((detail) => html`<li>${detail}</li>`)}</ul>` : html`<p class="fine">No remarks.</p>`}
    ${ready.source ? html`<p class="fine">Learned from ${ready.source}.</p>` : nothing}
  </section>`;
}

function process() {
  const { gauges } = sample;
  const lines = {
    "Started": moment(1000 * gauges.process_start_time_seconds),
    "Serving processes": gauges.orchard_workers,
    "Memory": `${significant(gauges.process_resident_memory_bytes / 1e6)} MB`,
    "Open files": gauges.process_open_fds,
    "Listeners to events": gauges.orchard_listeners,
    "Database": gauges.orchard_database_up ? "answers" : "does not answer",
  };
  return html`<section class="card"><h2>Processes</h2>${list(lines)}</section>`;
}

function retrains() {
  const { retrains: all } = sample.counters;
  const lines = Object.fromEntries(Object.entries(DECISIONS).map(([decision, name]) => [name, all[decision] ?? 0]));
  return html`<section class="card"><h2>Retrains</h2>
    ${list(lines)}
    <p class="fine">Since the service was started. ${count(sample.gauges.orchard_observations_stored_total ?? 0, "observation")} stored.</p></section>`;
}

const list = (lines) =>
  html`<dl class="parts">${Object.entries(lines).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;

function restart() {
  view.close();
  look();
}

/** Look again and again until the view is left; while the page is hidden nobody looks. */
async function look() {
  let isOpen = true;
  let wake = null;
  const seen = () => document.hidden || wake?.();
  document.addEventListener("visibilitychange", seen);
  stop = () => {
    isOpen = false;
    document.removeEventListener("visibilitychange", seen);
    wake?.();
  };
  while (isOpen) {
    if (!document.hidden && session.access?.read) await once();
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, session.access ? POLLED_MS : POLLED_MS / 20);
    });
  }
}

async function once() {
  try {
    const [text, found] = await Promise.all([callText("GET", "metrics", { accept: "text/plain" }), driftNow()]);
    take(read(text), found);
    fault = null;
  } catch (error) {
    // Whatever it is, such as a proxy's own page in place of an answer, the next look may go well.
    if (!(error instanceof Problem)) console.error(error);
    fault = error instanceof Problem ? error : { code: "page", detail: `What was answered cannot be read: ${error.message}. It is asked again every few seconds.` };
  }
  changed();
}

async function driftNow() {
  try {
    return await get("models/live/drift");
  } catch (error) {
    if (error.status === 503) return null; // there is no model
    throw error;
  }
}

function take(newest, found) {
  if (sample) {
    intervals = kept(intervals, between(sample, newest));
    lately = { at: newest.at, ...together(recent(intervals)) };
    drawn = drawnOf(intervals.map(figuresOf), Object.keys(newest.counters.predictions));
  }
  sample = newest;
  if (JSON.stringify([found, session.live?.version]) === JSON.stringify([drift, drifted?.version])) return;
  drift = found;
  drifted = found && { ...rowsOf(found, session.live), version: session.live?.version };
}
