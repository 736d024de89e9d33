// What deploy/prometheus/alerts.yml would tell, as far as it can be told from what was seen here.

import { figuresOf, together } from "./series.js";

const RECENT_S = 300;
/** Above these somebody is told: shares of 1, and seconds. The distance has no rule; it is the line that is drawn. */
export const LINES = { failing: 0.01, slow: 0.25, outside: 0.2, distance: 3 };

/** Return those of the last `seconds` that are kept. */
export function recent(intervals, seconds = RECENT_S) {
  const newest = intervals.at(-1)?.at ?? 0;
  return intervals.filter(({ at }) => newest - at < seconds * 1000);
}

/** Return sentences, worst first, that say what somebody should see to: `{kind, text}`. No number moves in them. */
export function alerts(sample, intervals, drift) {
  const { gauges, widening } = sample;
  const lately = figuresOf({ at: sample.at, ...together(recent(intervals)) });
  const retrains = together(intervals).retrains;
  const outside = Object.entries(lately.outside).filter(([, share]) => share > LINES.outside).map(([crop]) => crop);
  const wider = [...new Set(widening.filter(({ value }) => value > 1).map(({ crop }) => crop))];
  const told = [
    gauges.orchard_live_version === 0 && ["bad", "There is no model to answer with: every prediction is answered 503. The state above says why."],
    lately.failing > LINES.failing && ["bad", "More than 1 in 100 requests of the last 5 minutes were answered with an error of the service's own (5xx). The table below says which call."],
    gauges.orchard_database_up === 0 && ["warn", "The database of observations cannot be reached: predictions go on, uploads and retrains are answered 503."],
    lately.slow > LINES.slow && ["warn", "1 in 100 predictions of the last 5 minutes took more than a quarter of a second."],
    retrains.failed > 0 && ["warn", "A retrain has failed while this was watched. Nothing of it was kept; the log says why."],
    retrains.rejected > 0 && ["warn", "A harvest was rejected while this was watched. The live version stays; the rejected version has the reasons."],
    outside.length && ["warn", `More than 1 in 5 predictions of ${outside.join(" and ")} in the last 5 minutes were for weather that training has not seen.`],
    drift?.different && ["warn", "The weather that is asked about is not that of training. Below it is said in which feature."],
    wider.length && ["warn", `Yields of ${wider.join(" and ")} lay outside their intervals more often than promised, and the intervals are made wider for it.`],
  ];
  return told.filter(Boolean).map(([kind, text]) => ({ kind, text }));
}
