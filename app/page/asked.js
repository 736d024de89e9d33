// What is asked for when it is first drawn, and kept while it is asked for in the same way.

import { changed } from "./session.js";

/**
 * Return how to come by what `fetching(...parts)` resolves to, an object; the newest `most` of them are kept by their parts.
 *
 * `of(...parts)`: it, `{fault}`, or `{}` while it is on its way. `forget()`: ask anew when it is drawn next. `retry()`: now.
 */
export function asked(fetching, most = 1) {
  const kept = new Map();
  const fill = async (into, parts) => {
    try {
      Object.assign(into, await fetching(...parts));
    } catch (fault) {
      into.fault = fault;
    }
    changed();
  };
  const of = (...parts) => {
    const key = JSON.stringify(parts);
    if (!kept.has(key)) {
      if (kept.size >= most) kept.delete(kept.keys().next().value);
      kept.set(key, {});
      fill(kept.get(key), parts);
    }
    return kept.get(key);
  };
  const forget = () => kept.clear();
  return { of, forget, retry: () => (forget(), changed()) };
}
