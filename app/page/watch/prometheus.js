// Prometheus' text format, as far as /metrics speaks it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+([+-]?(?:[\d.]+(?:e[+-]?\d+)?|Inf|NaN))(?:\s+-?\d+)?$/i;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const UNESCAPED = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };
const WORDS = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity };

/** Return the samples of a text by their metric's name: lists of `{labels, value}`. Lines that are no samples are passed over. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = line.startsWith("#") ? [] : (LINE.exec(line.trim()) ?? []);
    if (!name) continue;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels: labelsOf(labels), value: WORDS[value] ?? Number(value) });
  }
  return found;
}

const labelsOf = (text) =>
  Object.fromEntries([...text.matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\[\\n"]/g, (escaped) => UNESCAPED[escaped])]));

/** Return by how much a counter has grown; one that has fallen has begun anew from 0. */
export const increase = (before, now) => (now >= before ? now - before : now);

/**
 * Return a quantile of a histogram: `buckets` are `[upper bound, how many are not above it]`, ascending, the last one's
 * bound infinite. It is taken to lie evenly within its bucket, as Prometheus does; in the last one it is its lower bound.
 * Null where nothing was counted.
 */
export function quantile(share, buckets) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!total) return null;
  const place = buckets.findIndex(([, count]) => count >= share * total);
  const [low, below] = place ? buckets[place - 1] : [0, 0];
  const [high, upTo] = buckets[place];
  return high === Infinity ? low : low + ((high - low) * (share * total - below)) / (upTo - below);
}
