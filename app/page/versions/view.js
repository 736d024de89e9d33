// To come.
import { html } from "../lit.js";
export const view = { title: "Versions", needs: "model", render: () => html`<p>…</p>` };
