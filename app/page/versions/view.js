// To come.
import { html } from "../lit.js";
export const versions = { title: "Versions", short: "Versions", needs: "model", render: () => html`<p>…</p>` };
