// What two versions predict for the same weather.

import { asked } from "../asked.js";
import { call, get } from "../calls.js";
import { own } from "../own.js";
import { session } from "../session.js";

const STEPS = 5;
const MOST = 4;
/** The page and its dialog may each show a pair. */
const answers = asked(ask, MOST);

/**
 * Return `{rows, features, crops, from}` (by crop: rows with `one` and `other`, each tons, low, high), `{fault}`, or `{}`
 * while they are on their way. Weather: the rows of the other version where these may be seen, else evenly spread.
 */
export const both = (one, other) => answers.of(needed(one), needed(other), Boolean(session.access?.rows));
/** Ask again. */
export const retryBoth = answers.retry;

/** Return of a card what a question depends on. */
const needed = ({ version, features }) => ({ version, features: features.filter(({ minimum }) => minimum !== null) });

async function ask(one, other, canSee) {
  const features = [...new Set([one, other].flatMap((card) => card.features.map(({ name }) => name)))];
  const stored = canSee ? await ofRows(other.version, features) : [];
  const rows = stored.length ? stored : spread(other, one, features);
  const body = Object.fromEntries(features.map((name) => [name, rows.map((row) => row[name])]));
  if (stored.length) body.region = rows.map((row) => row.region);
  const predict = ({ version }) => call("POST", "predict", { query: { version, count: false }, body });
  const [first, second] = await Promise.all([predict(one), predict(other)]);
  const crops = Object.keys(first.yields).filter((crop) => own(second.yields, crop));
  return { rows, features, from: stored.length ? "rows" : "spread", crops: Object.fromEntries(crops.map((crop) => [crop, pairs(rows, first.yields[crop], second.yields[crop])])) };
}

async function ofRows(version, features) {
  const page = await get(`models/${encodeURIComponent(version)}/residuals`);
  return page.residuals.filter((row) => features.every((name) => row[name] !== null));
}

/** Return weather from the least to the most of training, in five steps of each feature. */
function spread(card, before, features) {
  const of = (name) => [...card.features, ...before.features].find((feature) => feature.name === name);
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
