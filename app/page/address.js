// The page's state is in its address: `#/ask?temperature=80` can be sent to somebody, and the back button goes back.

/** Return where the address leads: `{view, rest, query}`, such as `#/model/3?crop=mango`. */
export function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [view, ...rest] = path.split("/").map(decoded);
  return { view: view || "ask", rest, query: new URLSearchParams(query ?? "") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody has typed a %
  }
}

/** Return the link to a view; a list in the query is given once for each of its entries. */
export function link(view, rest = [], query = {}) {
  const path = [view, ...rest].map(encodeURIComponent).join("/");
  const each = ([name, value]) => (Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]]);
  const given = Object.entries(query).flatMap(each).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/** Have the address say what is seen, without a step for the back button. */
export function note(...to) {
  history.replaceState(null, "", link(...to));
}
