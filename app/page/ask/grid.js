// Which weather is asked about, so that curves can be drawn: one question holds the point, what it is compared with,
// a sweep of each feature, and the corners of all that the sliders reach.

/** Points of a curve. */
const POINTS = 61;
const WIDER = 0.25;
/** The bounds that weather has by the service's contract, in its units. */
export const BOUNDS = { temperature: [-130, 140], rainfall: [0, 30_000], humidity: [0, 100] };

/**
 * Return what sliders reach, by feature: `{low, high}` of training, and `{from, to}`, a quarter wider but within bounds.
 * It reaches as far as the `weather` that is asked about. A feature that no crop uses is not in it.
 */
export function box(card, weather = {}) {
  const known = card.features.filter((feature) => feature.minimum !== null);
  return Object.fromEntries(known.map(({ name, minimum: low, maximum: high, mean }) => [name, { low, high, mean, ...wider(name, low, high, weather[name] ?? mean) }]));
}

function wider(name, low, high, asked) {
  const [least, most] = BOUNDS[name] ?? [-Infinity, Infinity];
  const by = WIDER * (high - low) || Math.max(1, Math.abs(high) * WIDER);
  return { from: Math.min(asked, Math.max(least, low - by)), to: Math.max(asked, Math.min(most, high + by)) };
}

/** Return `n` values from one end of a range to the other. */
export const steps = ({ from, to }, n) => Array.from({ length: n }, (_, index) => from + ((to - from) * index) / (n - 1));

/** Return the rows of weather that a question holds, and what becomes of its answer's columns. */
export function question(weather, pinned, reach) {
  const features = Object.keys(reach);
  const sweeps = features.map((feature) => steps(reach[feature], POINTS).map((value) => ({ ...weather, [feature]: value })));
  const rows = [weather, pinned ?? weather, ...sweeps.flat(), ...corners(reach)];
  const columns = Object.fromEntries(features.map((feature) => [feature, rows.map((row) => row[feature])]));
  return { columns, features };
}

function corners(reach) {
  return Object.entries(reach).reduce(
    (found, [feature, { from, to }]) => found.flatMap((corner) => [from, to].map((value) => ({ ...corner, [feature]: value }))),
    [{}],
  );
}

/** Return an answer in columns as what is drawn: the point, what it is compared with, curves, and the range of yields. */
export function sorted(answer, { columns, features }) {
  const crops = Object.keys(answer.yields);
  const first = 2;
  const last = first + features.length * POINTS;
  const curve = (crop, place) => {
    const of = answer.yields[crop];
    return Array.from({ length: POINTS }, (_, step) => {
      const row = first + place * POINTS + step;
      const isOutside = answer.extrapolated[row];
      return { x: columns[features[place]][row], tons: of.tons[row], low: of.low?.[row] ?? null, high: of.high?.[row] ?? null, isOutside };
    });
  };
  return {
    version: answer.model_version,
    crops,
    point: row(answer, crops, 0),
    pinned: row(answer, crops, 1),
    extrapolated: answer.extrapolated[0],
    warnings: answer.warnings[0],
    curves: Object.fromEntries(crops.map((crop) => [crop, Object.fromEntries(features.map((feature, place) => [feature, curve(crop, place)]))])),
    range: Object.fromEntries(crops.map((crop) => [crop, d3.extent([...answer.yields[crop].tons.slice(last), ...["tons", "low", "high"].flatMap((of) => answer.yields[crop][of]?.slice(0, 2) ?? [])].filter((tons) => tons !== null))])),
  };
}

function row(answer, crops, index) {
  return Object.fromEntries(
    crops.map((crop) => {
      const { tons, low, high, baseline, contributions = {} } = answer.yields[crop];
      const parts = Object.entries(contributions).map(([name, values]) => [name, values[index]]);
      return [crop, { tons: tons[index], low: low?.[index] ?? null, high: high?.[index] ?? null, baseline: Array.isArray(baseline) ? baseline[index] : baseline, parts }];
    }),
  );
}
