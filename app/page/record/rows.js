// What the charts have in common: a row for each group, its name at the left, how many yields at the right.

import { called, same, tip } from "../figures.js";
import { groupName } from "./scores.js";

const { Plot } = window;
const ROW_PX = 34;
/** Rows that are drawn at most, and that a table has. */
const MOST_DRAWN = 40;
const MOST_LISTED = 500;
const ALL = "all together";
const LONGEST = 20;
const LETTER_PX = 6;

/**
 * Return a crop's groups as rows, the same object while they are, and all of them together as the last one.
 *
 * `whole`: the crop's group of all that is not set aside, if there is any. `isKnown(group)`: whether it has what is drawn.
 */
export function rowsOf(id, { scores: groups, by: [by] }, { crop, colour, whole }, isKnown) {
  return same(id, [groups, whole, colour], () => {
    const rows = groups.filter((group) => group.crop === crop && isKnown(group)).map((group) => ({ ...group, name: groupName(group, by) }));
    const together = whole && isKnown(whole) ? [{ ...whole, name: ALL }] : [];
    const drawn = [...chosen(rows, by), ...together].map((row, key) => ({ ...row, key }));
    return { rows, drawn, listed: [...rows.slice(0, MOST_LISTED), ...together], colour, isMore: rows.length > MOST_DRAWN };
  });
}

/** Return those to be drawn: the newest, or of regions those with the largest errors. */
function chosen(rows, by) {
  if (rows.length <= MOST_DRAWN) return rows;
  if (by !== "region") return rows.slice(-MOST_DRAWN);
  return rows.toSorted((one, other) => Math.abs(other.bias.tons) - Math.abs(one.bias.tons)).slice(0, MOST_DRAWN);
}

/** Say that there are more than are drawn. */
export const more = ({ rows, isMore }, by) =>
  isMore ? ` ${MOST_DRAWN} of ${rows.length.toLocaleString("en")} are drawn, ${by === "region" ? "those farthest off" : "the newest"}; the table has ${rows.length > MOST_LISTED ? `the first ${MOST_LISTED}` : "all"}.` : "";

const shortened = (name) => (name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name);
export const heightOf = ({ drawn }) => 52 + ROW_PX * drawn.length;

/** Return the options that both charts have. */
export function frame(data, right) {
  const { drawn } = data;
  const longest = Math.max(...drawn.map(({ name }) => shortened(name).length));
  return {
    height: heightOf(data), marginLeft: 14 + LETTER_PX * longest, marginRight: right, marginTop: 8, marginBottom: 44,
    y: { type: "point", domain: drawn.map(({ key }) => key), tickFormat: (key) => shortened(drawn[key].name), tickSize: 0, label: null, padding: 0.6 },
  };
}

/** Return the bands of 95%, from `low` to `high`, of those rows that have one. */
export const bands = (rows, colour) =>
  called("band of 95%", Plot.link(rows, { x1: "low", x2: "high", y: "key", stroke: colour, strokeWidth: 3, strokeOpacity: 0.7, strokeLinecap: "round" }));

/** Return the look of a row's dot. */
export const full = (colour) => ({ r: 5.5, fill: colour, stroke: "var(--surface)", strokeWidth: 1.5 });

/** Return what both charts have beside that: rows without a band at `x`, how many yields, and what a row is. */
export const beside = (rows, { x, colour, text, title }) => [
  called("too few to tell", Plot.dot(rows.filter(({ low }) => low === null), { x, y: "key", r: 4, fill: "var(--surface)", stroke: colour, strokeWidth: 1.5 })),
  Plot.text(rows, { y: "key", frameAnchor: "right", textAnchor: "start", dx: 12, text }),
  tip(rows, { x, y: "key", title }),
];
