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
