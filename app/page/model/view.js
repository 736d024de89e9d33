// To come.
import { html } from "../lit.js";
export const view = { title: "Model", needs: "model", render: () => html`<p>…</p>` };
