// To come.
import { html } from "../lit.js";
export const model = { title: "Model", short: "Model", needs: "model", render: () => html`<p>…</p>` };
