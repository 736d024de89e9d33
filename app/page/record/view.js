// The record: what was said of yields before they were known, beside what they were.

import { here, note } from "../address.js";
import { curl } from "../calls.js";
import { colourOf } from "../figures.js";
import { html, live, nothing } from "../lit.js";
import { curlOf, empty, loading, problem, radios } from "../pieces.js";
import { changed, session } from "../session.js";
import { confirmDialog } from "../teach/confirm.js";
import { batches } from "./batches.js";
import { bias } from "./bias.js";
import { coverage } from "./coverage.js";
import { forgetKept } from "./kept.js";
import { BASES, GROUPINGS, forgetScores, retryScores, scores } from "./scores.js";
import { split } from "./split.js";
import { verdicts } from "./verdicts.js";
import { waiting } from "./waiting.js";

const MOST_CROPS = 6;
const asked = { basis: "forecast", by: "season" };
const MEANT = {
  forecast: "Each forecast that was stored, as it was given, beside the harvest.",
  arrival: "What the version that was live when yields were reported says of the weather reported with them: nothing need have been stored.",
};
const NOTHING = {
  forecast: ["No forecast has its harvest yet", "Store what you predict before the season; once the harvest is reported, this says how right it was and whether its intervals keep their promise. TABLE has a region, a season and the expected weather in each row."],
  arrival: ["No harvest was reported yet", "Once yields are reported, this says how right the version that was live would have been about them. To have your forecasts judged as they were given, store them before the season:"],
};

export const view = {
  title: "Record",
  needs: "nothing",

  open({ query }) {
    asked.basis = Object.hasOwn(BASES, query.get("basis")) ? query.get("basis") : "forecast";
    asked.by = Object.hasOwn(GROUPINGS, query.get("by")) ? query.get("by") : "season";
    forgetScores();
    forgetKept();
  },

  render() {
    return html`${basisChoice()} ${content()} ${waiting()} ${batches()} ${confirmDialog()}`;
  },
};

/** Return what groups are made by: regions are told to tokens alone, and only a forecast has a lead. */
const groupings = () => Object.keys(GROUPINGS).filter((by) => (by !== "region" || session.access?.rows) && (by !== "lead" || asked.basis === "forecast"));

function content() {
  const by = groupings().includes(asked.by) ? asked.by : "season";
  const { whole, grouped, fault } = scores(asked.basis, by);
  if (fault) return problem(fault, retryScores);
  if (!whole) return loading("the scores", 500);
  if (!whole.scores.length) return empty(...NOTHING[asked.basis], "orchard forecast TABLE");
  return html`${verdicts(whole)} ${charts(whole, grouped, by)}`;
}

function choose(name, value) {
  asked[name] = value;
  if (here().view === "record") note("record", [], { basis: asked.basis === "forecast" ? "" : asked.basis, by: asked.by === "season" ? "" : asked.by });
  changed();
}

const basisChoice = () => html`<div class="basis">
  ${radios({ name: "basis", legend: "Judged", isUnseen: true, choices: Object.entries(BASES), chosen: asked.basis, choose: (basis) => choose("basis", basis) })}
  <p class="fine">${MEANT[asked.basis]}</p>
</div>`;

const groupChoice = (by) => html`<div class="picks"><label for="record-by">Told apart by</label><select id="record-by" .value=${live(by)} @change=${(event) => choose("by", event.target.value)}>
  ${groupings().map((one) => html`<option value=${one} ?selected=${one === by}>${GROUPINGS[one]}</option>`)}</select></div>`;

function charts(whole, grouped, by) {
  const crops = [...new Set([...Object.keys(session.live?.crops ?? {}), ...whole.scores.map(({ crop }) => crop)])];
  const ofAll = Object.fromEntries(whole.scores.filter((group) => !group.set_aside).map((group) => [group.crop, group]));
  const scored = crops.filter((crop) => whole.scores.some((group) => group.crop === crop)).slice(0, MOST_CROPS);
  const each = (draw) => scored.map((crop) => draw({ crop, colour: colourOf(crops, crop), whole: ofAll[crop] })).filter(Boolean);
  const parts = asked.basis !== "forecast" ? [] : each((of) => of.whole && split(of.whole, of.colour));
  return html`
    ${groupChoice(by)}
    ${by === "lead" ? html`<p class="fine">A yield counts once for each of its forecasts; all together, with the last one alone.</p>` : nothing}
    ${card("Do intervals keep their promise?", "Dashed: the share that was promised. Dot: the share that lay inside, and how far chance alone may have moved it (95%). ○ too few to tell, ▽ below promise.", each((of) => coverage(grouped, of)))}
    ${card("Too high or too low?", "Dot: the mean of reported less predicted, and how far chance alone may have moved it (95%). ○ too few to tell.", each((of) => bias(grouped, of)))}
    ${card("The model, or the weather forecast?", "Of all forecasts together: what the model would have missed with the weather as it came, and what the weather forecast added.", parts)}
    ${crops.length > scored.length && scored.length === MOST_CROPS ? html`<p class="fine">Charts are of the first ${MOST_CROPS} crops.</p>` : nothing}
    ${curlOf(curl("GET", "scores", { query: { basis: asked.basis, by }, withToken: by === "region" }))}`;
}

const card = (title, help, charted) =>
  charted.length ? html`<section class="card"><h2>${title}</h2><p class="fine">${help}</p><div class="small-charts">${charted}</div></section>` : nothing;
