// Starts the page: which view the address names, and when it is drawn.

import { here, link } from "./address.js";
import { header } from "./header.js";
import { html, nothing, render } from "./lit.js";
import { empty, loading, offline, problem } from "./pieces.js";
import { session, start, watch } from "./session.js";
import { tokenDialog, tokenForm } from "./token.js";

/** The views by their address, each fetched when it is first opened; its `view` has `title`, `open(route)`, `close()`,
 * `render()`, and what it `needs`: "model" where it can show nothing without a live version. */
const VIEWS = {
  ask: { name: "Ask", load: () => import("./ask/view.js") },
  model: { name: "Model", load: () => import("./model/view.js") },
  versions: { name: "Versions", load: () => import("./versions/view.js") },
  teach: { name: "Teach", load: () => import("./teach/view.js") },
  record: { name: "Record", load: () => import("./record/view.js") },
  watch: { name: "Watch", load: () => import("./watch/view.js") },
};

const root = document.createElement("div");
root.id = "page";
document.body.append(root);

/** What is shown: the address it is shown for, and its view once that has been fetched. */
let shown = { name: null, view: null, fault: null };
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
  const { name, view } = shown;
  return html`
    <a class="skip" href="#content" @click=${skip}>Skip to the content</a>
    ${header(VIEWS, name)}
    <main id="content" tabindex="-1" class=${`view-${name}`}>
      ${offline()}
      <h1>${view?.title ?? VIEWS[name]?.name ?? "Not here"}</h1>
      ${content(view)}
    </main>
    ${tokenDialog()}
  `;
}

/** Return a view, or the state that stands in its way. */
function content(view) {
  if (!VIEWS[shown.name]) return html`<p>There is no such view. <a href=${link("ask")}>What if</a> is where one begins.</p>`;
  if (shown.fault) return problem(shown.fault, () => location.reload());
  if (session.access && !session.access.read) return tokenForm("Reading needs a token here.");
  if (session.ready === null || !view) {
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
async function route() {
  const to = here();
  const isNew = to.view !== shown.name;
  if (isNew) {
    shown.view?.close?.();
    shown = { name: to.view, view: null, fault: null };
    scrollTo(0, 0);
    schedule();
  }
  try {
    const view = (await VIEWS[to.view]?.load())?.view;
    if (shown.name !== to.view) return; // somebody has gone on meanwhile
    shown.view = view;
    view?.open?.(to);
    document.title = `${view?.title ?? "Not here"} · Orchard`;
  } catch (error) {
    console.error(error);
    if (shown.name !== to.view) return;
    shown.fault = { code: "page", detail: "This part of the page could not be fetched: load the page again." };
  }
  draw();
  if (isNew && document.activeElement !== document.body) document.querySelector("#content").focus({ preventScroll: true });
}

addEventListener("hashchange", route);
watch(schedule);
route();
start();
