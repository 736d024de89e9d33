// Which batches a version has learned, as its card tells: by their ids, or by their place among all that were stored.

/** Return a function that says it of an entry; `entries`: batches that are stored, as far as they are known. */
export function learnedBy(card, entries) {
  const ids = new Set(card.batches);
  const { ranges = [], marks = [] } = card.stored ?? {};
  const here = new Map(entries.map(({ sequence, batch }) => [sequence, batch]));
  const isOther = marks.some(([sequence, batch]) => here.has(sequence) && here.get(sequence) !== batch);
  return ({ batch, sequence }) =>
    ids.has(batch) || (!isOther && ranges.some(([first, last]) => first <= sequence && sequence <= last));
}

/** Return the first place at which a version may have learned a batch that the one before it had not; Infinity if none. */
export function firstTaught(card, before) {
  const had = before.stored?.ranges ?? [];
  const places = (card.stored?.ranges ?? []).map(([first, last]) => {
    const known = had.find(([low, high]) => low <= first && first <= high);
    if (!known) return first;
    return known[1] < last ? known[1] + 1 : Infinity;
  });
  return places.reduce((least, place) => Math.min(least, place), Infinity);
}
