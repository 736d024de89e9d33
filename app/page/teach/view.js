// To come.
import { html } from "../lit.js";
export const teach = { title: "Teach", short: "Teach", needs: "model", render: () => html`<p>…</p>` };
