// To come.
import { html } from "../lit.js";
export const watching = { title: "Watch", short: "Watch", needs: "model", render: () => html`<p>…</p>` };
