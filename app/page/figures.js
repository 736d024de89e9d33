// Charts: each has a sentence that says what it shows, and a table of the same numbers.

import { html, nothing } from "./lit.js";
import { changed } from "./session.js";

const { Plot } = window;
const opened = new Set();

/** Colours of crops, by their place in the list; a dash and a shape besides, so that colour is not alone. */
const CROP_COLOURS = [1, 2, 3, 4, 5, 6].map((number) => `var(--crop-${number})`);
export const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4", "10 4"];
export const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star"];

const remembered = new Map();

/** Return what `make` makes, the same object while the `parts` it is made of are the same: charts know by that. */
export function same(id, parts, make) {
  const before = remembered.get(id);
  if (before && parts.every((part, place) => part === before.parts[place])) return before.made;
  const made = make();
  remembered.set(id, { parts, made });
  return made;
}

/** Name a mark for screen readers: Plot's own `ariaLabel` is that of each point. */
export const called = (name, mark) => Object.assign(mark, { ariaLabel: name });

/** Say what a row is where it is pointed at; `channels`: where it lies, and its `title`. */
export const tip = (rows, channels) => Plot.tip(rows, Plot.pointer({ ...channels, fill: "var(--surface)", stroke: "var(--line)" }));

/** Return a crop's colour. */
export const colourOf = (crops, crop) => CROP_COLOURS[crops.indexOf(crop) % CROP_COLOURS.length];

/** Have a drawing that Plot made understood by screen readers: groups have roles, and the whole a name. */
function accessible(drawing, name) {
  const svgs = drawing.matches("svg") ? [drawing] : drawing.querySelectorAll("svg");
  for (const svg of svgs) {
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", name);
    for (const group of svg.querySelectorAll("g[aria-label]")) group.setAttribute("role", "group");
    for (const mark of svg.querySelectorAll(":is(path,rect,circle,line,text,image)[aria-label]")) mark.setAttribute("role", "img");
  }
  return drawing;
}

/**
 * A chart as wide as its place: `draw(data, width)` returns what Plot takes, and is called when one of them changes.
 *
 * What moves with a slider may have a `ground`, `{draw, data}`, that stays: axes take longer to draw than all else.
 */
class Chart extends HTMLElement {
  #data;
  #draw;
  #ground = null;
  #groundDrawn = null;
  #width = 0;
  #observer = new ResizeObserver(([entry]) => this.#resized(Math.floor(entry.contentRect.width)));

  set data(data) {
    if (data === this.#data) return;
    this.#data = data;
    this.#update();
  }

  set draw(draw) {
    if (draw === this.#draw) return;
    this.#draw = draw;
    this.#update();
  }

  set ground(ground) {
    this.#ground = ground ?? null;
    this.#update();
  }

  connectedCallback() {
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer.disconnect();
  }

  #resized(width) {
    if (width === this.#width) return;
    this.#width = width;
    this.#update();
  }

  #update() {
    if (!this.#width || !this.#draw || this.#data === undefined) return;
    const drawing = accessible(this.#plotted(this.#draw, this.#data), this.getAttribute("name") ?? "chart");
    if (this.#ground) this.replaceChildren(this.#groundPlotted(), drawing);
    else this.replaceChildren(drawing);
  }

  #plotted(draw, data) {
    return Plot.plot({ width: this.#width, ...draw(data, this.#width) });
  }

  #groundPlotted() {
    const { draw, data } = this.#ground;
    const before = this.#groundDrawn;
    if (before && before.data === data && before.width === this.#width) return before.drawing;
    const drawing = this.#plotted(draw, data);
    drawing.setAttribute("aria-hidden", "true"); // the drawing over it has the chart's name, and the table its numbers
    this.#groundDrawn = { data, width: this.#width, drawing };
    return drawing;
  }
}
customElements.define("orchard-chart", Chart);

/**
 * Return a chart with its sentence and its table.
 *
 * `title`: its heading. `sentence`: what is to be seen in it. `draw`: a function that is always the same one, which
 * makes options for Plot of `data` and a width. `columns`: the table's heads. `rows()`: its rows, asked for when it is
 * opened. `height`: reserved before it is drawn, px. `ground`: what stays while it moves, `{draw, data}`.
 */
export function figure({ title, sentence, data, draw, ground, columns, rows, height = 220, id = title }) {
  return html`<figure class="chart">
    <figcaption><strong>${title}</strong>${sentence ? html` <span>${sentence}</span>` : nothing}</figcaption>
    <orchard-chart name=${title} class=${ground ? "layered" : nothing} .style=${`min-height:${height}px`}
      .ground=${ground} .draw=${draw} .data=${data}></orchard-chart>
    ${numbersOf({ id, title, columns, rows })}
  </figure>`;
}

/** Return the table beside a chart, closed; `rows()`: asked for when it is opened. */
export function numbersOf({ id, title, columns, rows }) {
  const isOpen = opened.has(id);
  const toggle = (event) => {
    if (event.target.open === opened.has(id)) return;
    if (event.target.open) opened.add(id);
    else opened.delete(id);
    changed();
  };
  return html`<details class="numbers" ?open=${isOpen} @toggle=${toggle}>
    <summary>Table<span class="unseen"> of ${title}</span></summary>
    ${isOpen ? table({ columns, rows: rows(), name: title }) : nothing}
  </details>`;
}

/** Return a table in a place where it scrolls by itself, also by keyboard, if it is too large. */
export const scrolling = (name, content, kind = "") => html`<div class="scroll ${kind}" tabindex="0" role="region" aria-label=${`table: ${name}`}>${content}</div>`;

/** Return a table; numbers are aligned. */
export function table({ columns, rows, name }) {
  return scrolling(name, html`<table>
      <thead><tr>${columns.map((column, place) => html`<th scope="col" class=${typeof rows[0]?.[place] === "number" ? "number" : nothing}>${column}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td class=${typeof cell === "number" ? "number" : nothing}>${shownCell(cell)}</td>`)}</tr>`)}</tbody>
    </table>`);
}

function shownCell(cell) {
  if (cell === null || cell === undefined) return "–";
  return typeof cell === "number" ? cell.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "−") : cell;
}
