// To come.
import { html } from "../lit.js";
export const view = { title: "Watch", needs: "model", render: () => html`<p>…</p>` };
