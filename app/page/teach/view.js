// To come.
import { html } from "../lit.js";
export const view = { title: "Teach", needs: "model", render: () => html`<p>…</p>` };
