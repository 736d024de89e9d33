// What is wrong with a table, as the service says it: a line a fault.

import { table } from "./figures.js";
import { html, nothing } from "./lit.js";
import { problem } from "./pieces.js";

/** Return a table of the faults that a Problem lists, or the Problem as it is where it lists none; `retry`: another try. */
export function faults(error, retry) {
  const listed = error.errors ?? [];
  if (error.status === 415) return problem({ ...error, detail: `${error.detail}. Save it as CSV or as a workbook (.xlsx).` });
  if (!listed.length || ![400, 422].includes(error.status)) return problem(error, [400, 413, 422].includes(error.status) ? null : retry);
  const rows = listed.map(parts);
  const more = Number(/\(and ([\d,]+) more\)$/.exec(error.detail)?.[1]?.replaceAll(",", "") ?? 0) + 1 - listed.length;
  const columns = ["row", "line", "column", "value", "what is wrong, and what to do"];
  const used = columns.map((_, place) => place === columns.length - 1 || rows.some((row) => row[place] !== null));
  const kept = (row) => row.filter((_, place) => used[place]);
  return html`<section class="problem" role="alert">
    <h2>This cannot be read yet</h2>
    <p>Nothing was done. Mend ${listed.length === 1 ? "this" : "these"} and bring the table again.</p>
    ${table({ columns: kept(columns), rows: rows.map(kept), name: "faults" })}
    <p class="fine">${more > 0 ? `and ${more.toLocaleString("en")} more · ` : nothing}<code>${error.code}</code>${error.requestId ? html` · request <code>${error.requestId}</code>` : nothing}</p>
  </section>`;
}

/** Return row and line (from 1), column, value and sentence of a fault; null what it does not say. */
function parts({ loc = [], message }) {
  const place = loc.findIndex((step) => typeof step === "number");
  const column = loc.filter((step) => typeof step === "string" && !["properties", "features", "observations", "regions", "query"].includes(step)).join(" › ") || null;
  const row = place < 0 ? null : loc[place] + 1;
  const [, line, plain] = /^row \d+ \(line (\d+)\)(?:, column [^:]*)?:? (.*)$/s.exec(message) ?? [null, null, message];
  const [, quoted, bare, rest] = /^(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|-?[\d.eE+]+|NaN|-?inf\w*) (is .*|stands .*)$/is.exec(plain) ?? [];
  const value = rest === undefined ? null : (quoted ?? bare ?? plain.slice(0, plain.length - rest.length - 1));
  return [row === null ? null : String(row), line, column, value, rest ?? plain];
}
