// What two versions predict for the same weather.

import { call, get } from "../calls.js";
import { own } from "../own.js";
import { changed, session } from "../session.js";

const STEPS = 5;
const MOST = 4;
/** By what was asked: the page and its dialog may each show a pair. */
const kept = new Map();

/**
 * Return `{rows, regions, crops, from}` (by crop: `one` and `other`, columns of tons, low, high), `{fault}`, or `{}`
 * while they are on their way. Weather: the rows of the other version where these may be seen, else evenly spread.
 */
export function both(one, other) {
  const key = JSON.stringify([one.version, other.version, session.access?.rows]);
  if (!kept.has(key)) {
    if (kept.size >= MOST) kept.delete(kept.keys().next().value);
    kept.set(key, {});
    ask(kept.get(key), one, other);
  }
  return kept.get(key);
}

/** Ask again. */
export function retryBoth() {
  kept.clear();
  changed();
}

async function ask(into, one, other) {
  try {
    const features = needed(one, other);
    const stored = session.access?.rows ? await ofRows(other.version, features) : [];
    const rows = stored.length ? stored : spread(other, one, features);
    const body = Object.fromEntries(features.map((name) => [name, rows.map((row) => row[name])]));
    if (stored.length) body.region = rows.map((row) => row.region);
    const predict = ({ version }) => call("POST", "predict", { query: { version, count: false }, body });
    const [first, second] = await Promise.all([predict(one), predict(other)]);
    const crops = Object.keys(first.yields).filter((crop) => own(second.yields, crop));
    Object.assign(into, { rows, features, from: stored.length ? "rows" : "spread", crops: Object.fromEntries(crops.map((crop) => [crop, pairs(rows, first.yields[crop], second.yields[crop])])) });
  } catch (fault) {
    into.fault = fault;
  }
  changed();
}

const known = (card) => card.features.filter((feature) => feature.minimum !== null).map((feature) => feature.name);
const needed = (one, other) => [...new Set([...known(one), ...known(other)])];

async function ofRows(version, features) {
  const page = await get(`models/${encodeURIComponent(version)}/residuals`);
  return page.residuals.filter((row) => features.every((name) => row[name] !== null));
}

/** Return weather from the least to the most of training, in five steps of each feature. */
function spread(card, before, features) {
  const of = (name) => [card, before].map((each) => each.features.find((feature) => feature.name === name)).find((feature) => feature?.minimum !== null);
  return features.reduce((rows, name) => {
    const { minimum, maximum } = of(name);
    const values = d3.range(STEPS).map((step) => minimum + ((maximum - minimum) * step) / (STEPS - 1));
    return rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })));
  }, [{}]);
}

const pairs = (rows, first, second) =>
  rows.map((row, place) => {
    const [one, other] = [first, second].map(({ tons, low, high }) => ({ tons: tons[place], low: low?.[place] ?? null, high: high?.[place] ?? null }));
    const isApart = one.low !== null && other.low !== null && (one.high < other.low || other.high < one.low);
    return { ...row, one, other, by: other.tons - one.tons, isApart };
  });
