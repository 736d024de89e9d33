// What a version has learned, and how far that can be trusted.

import { here, link, note } from "../address.js";
import { curl } from "../calls.js";
import { colourOf } from "../figures.js";
import { html, live, nothing } from "../lit.js";
import { count, day } from "../numbers.js";
import { curlOf, empty, loading, problem, radios, select, stale, tokenNeeded } from "../pieces.js";
import { changed, session } from "../session.js";
import { cardOf, renew, retryCard } from "./cards.js";
import { SCALES, coefficients, lines } from "./coefficients.js";
import { deviations } from "./deviations.js";
import { cropFacts, gate, origin } from "./facts.js";
import { loss } from "./loss.js";
import { observed } from "./observed.js";
import { points, retryPoints } from "./points.js";
import { leverage, missed, residuals } from "./residuals.js";
import { glossary, term } from "./words.js";
import { worth } from "./worth.js";

const asked = { version: null, crop: null, scale: "unit" };
/** The version that was live when the address named none: it stays until the reader wants another. */
let pinned = null;

export const view = {
  title: "Model",

  get needs() {
    return here().rest[0] ? "nothing" : "model";
  },

  open({ rest, query }) {
    asked.version = rest[0] && rest[0] !== "live" ? rest[0] : null;
    asked.crop = query.get("crop");
    asked.scale = Object.hasOwn(SCALES, query.get("per")) ? query.get("per") : "unit";
    pinned = null;
    const version = asked.version ?? session.live?.version;
    if (version && session.access?.read) renew(version);
  },

  render() {
    pinned ??= session.live?.version ?? null;
    const version = asked.version ?? pinned;
    if (version === null) return empty("No model yet", "Nothing has been learned here.", "orchard train YOUR.csv");
    const { card, fault } = cardOf(version);
    if (fault) return html`${problem(fault, () => retryCard(version))}<p><a href=${link("versions")}>All versions</a></p>`;
    if (!card) return loading(`version ${version}`, 500);
    return html`${asked.version ? nothing : stale(version, redraw)} ${whole(card)}`;
  },
};

function redraw() {
  pinned = null;
  changed();
}

function choose(name, value) {
  asked[name] = value;
  note("model", asked.version ? [asked.version] : [], { crop: asked.crop, per: asked.scale === "unit" ? "" : asked.scale });
  changed();
}

function whole(card) {
  const crops = Object.keys(card.crops);
  const name = crops.includes(asked.crop) ? asked.crop : crops[0];
  const crop = card.crops[name];
  const colour = colourOf(crops, name);
  const loaded = points(card.version, name);
  return html`
    ${state(card)}
    ${crops.length > 1 ? cropChoice(crops, name) : nothing}
    ${worth(name, crop)}
    <section class="card"><h2>What the weather does</h2> ${effectsOfWeather(card, name, colour, loaded)}</section>
    ${pointPanels(card, name, colour, loaded)}
    <div class="grid-2">
      ${cropFacts(name, crop, card.record?.[name])}
      ${loaded?.rows?.length ? gate(card) : html`<div class="stack"><section class="card">${loss(card)}</section>${gate(card)}</div>`}
    </div>
    ${origin(card)}
    ${glossary()}`;
}

/** Say which version is seen, and what it is. */
function state(card) {
  const isLive = card.version === session.ready?.model_version;
  return html`<p class="version-line"><strong>Version ${card.version}</strong>
    ${isLive ? html`<span class="tag live">★ live</span>` : nothing}
    ${card.decision === "rejected" ? html`<span class="tag rejected">✕ rejected</span>` : nothing}
    <span class="fine">trained ${day(card.created)} on ${count(card.rows.total, "row")}</span>
    ${isLive ? nothing : session.ready?.model_version ? html`<a href=${link("model")}>See the live one (${session.ready.model_version})</a>` : nothing}
    <a href=${link("versions")}>All versions</a></p>`;
}

const cropChoice = (crops, name) =>
  crops.length <= 6
    ? html`<fieldset class="crop-choice"><legend class="unseen">Crop</legend><div class="choices">${crops.map((crop) => html`<label>
        <input type="radio" name="model-crop" value=${crop} .checked=${live(crop === name)} @change=${() => choose("crop", crop)}><span class="swatch" .style=${`--crop:${colourOf(crops, crop)}`} aria-hidden="true"></span>${crop}</label>`)}</div></fieldset>`
    : html`<div class="picks">${select("Crop", crops, name, (crop) => choose("crop", crop))}</div>`;

function effectsOfWeather(card, name, colour, loaded) {
  const crop = card.crops[name];
  const found = deviations(card, loaded);
  const scale = asked.scale === "deviation" && !found ? "range" : asked.scale;
  const scales = Object.entries(SCALES).filter(([each]) => each !== "deviation" || found);
  return html`
    <p class="fine">How much more or less is harvested where one feature differs and the others do not, with its 95% ${term("interval")}.</p>
    ${radios({ name: "scale", legend: "Told", isUnseen: true, choices: scales, chosen: scale, choose: (each) => choose("scale", each) })}
    ${coefficients({ id: "coefficients", crop: name, features: card.features, of: lines(crop), scale, deviations: found, remarks: remarks(crop), colour })}
    ${found ? nothing : html`<p class="fine">Per standard deviation it can be told once the rows can be read (a token), or weather was asked about: the card has none.</p>`}`;
}

/** Say of which features nothing can be told, and why. */
function remarks(crop) {
  const all = (names, words) => (names ?? []).map((name) => [name, words]);
  return Object.fromEntries([
    ...all(crop.absent_features, "not in all rows, so it is left out"),
    ...all(crop.constant_features, "the same in all rows, so nothing can be told"),
    ...all(crop.collinear_features, "says the same as other features: their parts cannot be told apart"),
  ]);
}

function pointPanels(card, name, colour, loaded) {
  if (!loaded) return html`<section class="card points"><h2>Row by row</h2>${tokenNeeded("To see what regions reported beside what was predicted of them")}</section>`;
  const { page, rows, fault } = loaded;
  if (fault) return problem(fault, retryPoints);
  if (!page) return loading("the rows", 400);
  if (!rows.length) return html`<section class="card points"><h2>Row by row</h2><p class="needed">${page.reason ?? "No row of this crop is stored."}</p></section>`;
  const known = card.features.filter((feature) => feature.minimum < feature.maximum);
  return html`
    ${page.reason ? html`<p class="banner" role="status">${page.reason}</p>` : nothing}
    ${page.selected_by ? html`<p class="banner" role="status">Too many to draw: ${count(page.shown, "row")} of ${page.total.toLocaleString("en")} are shown, ${page.selected_by}.</p>` : nothing}
    <div class="grid-2 points">
      <section class="card">${observed(name, loaded, colour)}</section>
      <div class="stack">
        <section class="card">${leverage(rows, card.crops[name].largest_leverage, colour)}</section>
        <section class="card">${loss(card)}</section>
      </div>
    </div>
    <section class="card"><h2>What it missed</h2><p class="fine">${missed(rows, page.crops[name])}</p>${residuals(known, rows, colour)}
      <p class="fine">● in its interval &nbsp; △ outside</p>
      ${curlOf(curl("GET", `models/${card.version}/residuals`, { query: { crop: name }, withToken: true }))}</section>`;
}
