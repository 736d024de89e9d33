// What templates are made of, from one place.
export { html, nothing, render } from "./vendor/lit-html/lit-html.js";
export { live } from "./vendor/lit-html/directives/live.js";
