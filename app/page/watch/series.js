// What happened between one look at /metrics and the next: counters only tell of all the time since the start.

import { increase, parse, quantile } from "./prometheus.js";

/** How many intervals are kept: ten minutes of them. */
const KEPT = 120;
/** What this view and whoever watches the service ask again and again, which is nobody's use of it. */
const WATCHING = /\/(health\/\w+|metrics|models\/live\/drift)$/;

/** Return an object that has what it is given and inherits nothing: a crop may be called "constructor". */
const bare = (entries = []) => Object.assign(Object.create(null), Object.fromEntries(entries));

/** Return what one text of /metrics says: `counters`, and `gauges`, those without labels by their name. */
export function read(text, at = new Date()) {
  const samples = parse(text);
  const by = (name, label) => bare((samples.get(name) ?? []).map(({ labels, value }) => [labels[label], value]));
  const gauges = Object.fromEntries([...samples].filter(([, [first]]) => !Object.keys(first.labels).length).map(([name, [{ value }]]) => [name, value]));
  return {
    at,
    gauges,
    widening: (samples.get("orchard_record_widening") ?? []).map(({ labels, value }) => ({ crop: labels.crop, value })),
    counters: {
      calls: callsOf(samples),
      predictions: by("orchard_predictions_total", "crop"),
      extrapolated: by("orchard_extrapolated_predictions_total", "crop"),
      retrains: by("orchard_retrains_total", "decision"),
    },
  };
}

/** Return the calls by route, method and status: how many, and the buckets of how long they took. */
function callsOf(samples) {
  const calls = new Map();
  const keyOf = ({ route, method, status }) => JSON.stringify([route, method, status]);
  for (const { labels, value } of samples.get("orchard_requests_total") ?? []) {
    if (!WATCHING.test(labels.route)) calls.set(keyOf(labels), { route: labels.route, method: labels.method, status: labels.status, count: value, buckets: [] });
  }
  for (const { labels, value } of samples.get("orchard_request_seconds_bucket") ?? []) {
    calls.get(keyOf(labels))?.buckets.push([labels.le === "+Inf" ? Infinity : Number(labels.le), value]);
  }
  for (const call of calls.values()) call.buckets.sort(([one], [other]) => one - other);
  return calls;
}

/** Return what was counted between two texts; what was not there before has begun at 0. */
export function between(before, now) {
  const [then, later] = [before.counters, now.counters];
  const grown = (name) => bare(Object.entries(later[name]).map(([key, value]) => [key, increase(then[name][key] ?? 0, value)]));
  const calls = [...later.calls].map(([key, call]) => {
    const old = then.calls.get(key);
    const isNew = !old || call.count < old.count; // its buckets have begun anew with it
    return { ...call, count: isNew ? call.count : call.count - old.count, buckets: call.buckets.map(([bound, count], place) => [bound, isNew ? count : count - (old.buckets[place]?.[1] ?? 0)]) };
  });
  return {
    at: now.at,
    seconds: (now.at - before.at) / 1000,
    isRestart: before.gauges.process_start_time_seconds !== now.gauges.process_start_time_seconds,
    calls: calls.filter(({ count }) => count > 0),
    predictions: grown("predictions"),
    extrapolated: grown("extrapolated"),
    retrains: grown("retrains"),
  };
}

/** Return several intervals as one. */
export function together(intervals) {
  const calls = new Map();
  const whole = { predictions: bare(), extrapolated: bare(), retrains: bare(), seconds: 0, isRestart: false };
  for (const interval of intervals) {
    whole.seconds += interval.seconds;
    whole.isRestart ||= interval.isRestart;
    for (const name of ["predictions", "extrapolated", "retrains"]) {
      for (const [key, value] of Object.entries(interval[name])) whole[name][key] = (whole[name][key] ?? 0) + value;
    }
    for (const call of interval.calls) {
      const key = JSON.stringify([call.route, call.method, call.status]);
      calls.set(key, { ...call, ...sum(calls.get(key), call) });
    }
  }
  return { ...whole, calls: [...calls.values()] };
}

const sum = (one, other) => ({
  count: (one?.count ?? 0) + other.count,
  buckets: other.buckets.length ? other.buckets.map(([bound, count], place) => [bound, count + (one?.buckets[place]?.[1] ?? 0)]) : (one?.buckets ?? []),
});

/** Return what is drawn of an interval; what nobody asked for has no share and no quantile: null. */
export function figuresOf({ at, seconds, calls, predictions, extrapolated }) {
  const count = (which) => calls.filter(which).reduce((total, call) => total + call.count, 0);
  const requests = count(() => true);
  const failed = count(({ status }) => status.startsWith("5"));
  const crops = Object.keys(predictions);
  return {
    at, seconds, requests, failed,
    rate: seconds > 0 ? requests / seconds : 0,
    failing: requests ? failed / requests : null,
    slow: slowest(calls.filter(({ route }) => route.endsWith("/predict"))),
    outside: bare(crops.map((crop) => [crop, predictions[crop] ? (extrapolated[crop] ?? 0) / predictions[crop] : null])),
    predicted: crops.reduce((total, crop) => total + predictions[crop], 0),
  };
}

/** Return within how many seconds 99 of 100 of some calls were answered; null where there were none. */
export const slowest = (calls, share = 0.99) => quantile(share, calls.reduce((whole, call) => sum(whole, call), { count: 0, buckets: [] }).buckets);

/** Return the intervals that are kept once there is a new one. */
export const kept = (intervals, newest) => [...intervals, newest].slice(-KEPT);
