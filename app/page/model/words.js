// Terms in plain words: those of app/model/glossary.py.

import { html } from "../lit.js";

/** Each term and what it means. */
const WORDS = {
  "held out, out of fold":
    "judged on rows that the fit has not seen: a fifth of the regions, a season or a fifth of the rows is left out, predicted by the rest, and so on until each had its turn",
  "in sample": "judged on the very rows it was trained on, since none could be held out: an error that is too small",
  "R²": "the share of what separates yields that is explained; 1 is all, 0 no more than their average explains",
  "RMSE, MAE": "the typical error, tons: the root of the mean squared error, and the mean error without its sign",
  interval: "from low to high: where a harvest lies with the probability asked for, usually 95 %",
  leverage: "how far weather lies from that of the training rows; above the largest there, it is extrapolated",
  effects: "what a region or a season adds of its own, beyond the weather, as learned from its past",
  record: "how many yields lay in their intervals when they were reported later; intervals widen where too few did",
  gate: "the comparison that decides whether a new version may go live, with its reasons",
  recipe: "how a model is fitted: descent takes all rows at once, to the end; tutorial small batches, roughly",
  epoch: "one step through all the rows while a model is fitted",
  loss: "the mean squared error that fitting makes small, tons²",
  "degrees of freedom": "rows less the numbers fitted to them: the fewer, the wider the intervals",
  "standard error": "how far a number may be off by chance alone, as a deviation; beyond 6 of them it is suspicious",
  "condition number": "how nearly the weather columns say the same; above about 30, weights are hard to tell apart",
};

/** Return a term that says what it means when it is pointed at; `as`: the words it is called by here. */
export const term = (name, as = name) => html`<dfn title=${WORDS[name]}>${as}</dfn>`;

/** Return all terms, to be opened: not everybody has a pointer. */
export const glossary = () => html`<details class="card words"><summary>What the words mean</summary>
  <dl>${Object.entries(WORDS).map(([name, meaning]) => html`<dt>${name}</dt><dd>${meaning}</dd>`)}</dl></details>`;

const HELD_OUT = { region: "regions it had not seen", season: "seasons it had not seen", row: "rows it had not seen" };

/** Say what a crop's error was measured on; `by`: as in the card. */
export const heldOut = (by) => (by === "nothing" ? "the very rows it was trained on" : HELD_OUT[by] ?? "rows that were held out");
/** Say it in two words, for tables. */
export const heldOutBriefly = (by) => (by === "nothing" ? "in sample" : by ? `by ${by}` : "not told");
