// Starts the page: which view the address names, and when it is drawn.

import { here, link } from "./address.js";
import { ask } from "./ask/view.js";
import { header } from "./header.js";
import { html, nothing, render } from "./lit.js";
import { model } from "./model/view.js";
import { empty, loading, offline, problem } from "./pieces.js";
import { session, start, watch } from "./session.js";
import { teach } from "./teach/view.js";
import { tokenDialog, tokenForm } from "./token.js";
import { versions } from "./versions/view.js";
import { watching } from "./watch/view.js";

/** The views by their address. Each has a `title`, `open(route)`, `close()`, `render()`, and what it `needs`. */
const VIEWS = { ask, model, versions, teach, watch: watching };

const root = document.createElement("div");
root.id = "page";
document.body.append(root);

let shown = null;
let isWaiting = false;

function draw() {
  isWaiting = false;
  render(page(), root);
}

function schedule() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(draw);
}

function page() {
  const view = shown?.view;
  return html`
    <a class="skip" href="#content" @click=${skip}>Skip to the content</a>
    ${header(VIEWS, here().view)}
    <main id="content" tabindex="-1" class=${`view-${here().view}`}>
      ${offline()}
      <h1>${view?.title ?? "Not here"}</h1>
      ${content(view)}
    </main>
    ${tokenDialog()}
  `;
}

/** Return a view, or the state that stands in its way. */
function content(view) {
  if (!view) return html`<p>There is no such view. <a href=${link("ask")}>What if</a> is where one begins.</p>`;
  if (session.access && !session.access.read) return tokenForm("Reading needs a token here.");
  if (session.ready === null) {
    return session.offlineSince ? problem({ code: "offline", detail: "The service does not answer." }) : loading("the model", 400);
  }
  if (session.problem && view.needs !== "nothing") return problem(session.problem);
  if (view.needs === "model" && !session.live) return session.ready.model_version ? loading("the model", 400) : noModel();
  try {
    return view.render();
  } catch (error) {
    console.error(error); // a fault of this page, which its developers want to see whole
    return problem({ code: "page", detail: `This view cannot be drawn: ${error.message}` });
  }
}

const noModel = () =>
  empty("No model yet", session.ready.details[0] ?? "Nothing has been learned here.", "orchard train YOUR.csv");

function skip(event) {
  event.preventDefault();
  document.querySelector("#content").focus();
}

/** Open the view that the address names; the same one goes on where only its parameters have changed. */
function route() {
  const to = here();
  const view = VIEWS[to.view];
  const isNew = view !== shown?.view;
  if (isNew) shown?.view?.close?.();
  shown = { view };
  view?.open?.(to);
  document.title = `${view?.title ?? "Not here"} · Orchard`;
  draw();
  if (isNew && document.activeElement !== document.body) document.querySelector("#content").focus({ preventScroll: true });
  if (isNew) scrollTo(0, 0);
}

addEventListener("hashchange", route);
watch(schedule);
route();
start();
