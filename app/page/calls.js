// The public calls of the service: all that this page knows, it asks as any other client would.

let token = "";
let refused = () => {};

/** Set the token that calls are made with; it is kept in this variable and nowhere else. Returns the one before. */
export function useToken(given) {
  const before = token;
  token = given;
  return before;
}

/** Have a function called when a call is refused for its token, which may have been taken away. */
export function whenRefused(listener) {
  refused = listener;
}

/** What the service answers where it cannot do what was asked (RFC 9457), or "offline" where it did not answer. */
export class Problem extends Error {
  constructor({ status = 0, code = "unknown", detail = "", request_id = null, errors = [] }, retryAfter = null) {
    super(detail);
    Object.assign(this, { status, code, detail, requestId: request_id, errors, retryAfter });
  }
}

/** Return the address of a path: relative to the page, and so right behind any prefix. */
export function address(path, query = {}) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  url.search = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

/**
 * Make a call; the answer is that of `fetch`, whatever its status.
 *
 * `body`: an object is sent as JSON; text, bytes and files as they are, with `type`. `key`: an idempotency key.
 * Throws a Problem with the code "offline" where nothing answers, and what `signal` says where it is aborted.
 */
export async function send(method, path, { query, body, type, accept = "application/json", signal, key } = {}) {
  const headers = { Accept: accept };
  const isPlain = body !== undefined && !type;
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers["Idempotency-Key"] = key;
  const options = { method, headers, signal, credentials: "omit", body: isPlain ? JSON.stringify(body) : body };
  try {
    return await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error; // who asked has given up; a time-out has another name
    throw new Problem({ code: "offline", detail: "The service does not answer: it may be stopped, or the network down." });
  }
}

/** Return the Problem that an answer is. */
export async function problemOf(answer) {
  if (answer.status === 401) refused();
  const text = await answer.text().catch(() => "");
  const retryAfter = answer.headers.get("Retry-After");
  try {
    return new Problem({ status: answer.status, ...JSON.parse(text) }, retryAfter);
  } catch {
    // A proxy in front has its own words.
    return new Problem({ status: answer.status, code: "proxy", detail: `HTTP ${answer.status}: ${text.slice(0, 200)}` });
  }
}

/** Make a call, and return what its JSON answer holds. Throws a Problem for every status but those of success. */
export async function call(method, path, options) {
  const answer = await send(method, path, options);
  if (!answer.ok) throw await problemOf(answer);
  return parsed(answer);
}

/** Return what an answer's JSON holds. Throws a Problem where it is none: a proxy in front has a page of its own. */
export async function parsed(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: answer.status, code: "proxy", detail: "The answer is not the service's, or broke off: a proxy may be in between." });
  }
}

/** Make a call, and return its answer as text. Throws as `call` does. */
export async function callText(method, path, options) {
  const answer = await send(method, path, options);
  if (!answer.ok) throw await problemOf(answer);
  try {
    return await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: answer.status, code: "offline", detail: "The answer broke off." });
  }
}

/** Return what is asked with GET. */
export function get(path, query, signal) {
  return call("GET", path, { query, signal });
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Return the command that makes a call; `file`: the name of a file that is its body. A token is never part of it. */
export function curl(method, path, { query, body, type, file, accept, withToken = false } = {}) {
  const parts = ["curl", quoted(address(path, query).href)];
  if (method !== "GET" && body === undefined && !file) parts.push("-X", method);
  if (withToken) parts.push("-H", '"Authorization: Bearer $ORCHARD_TOKEN"');
  if (accept) parts.push("-H", quoted(`Accept: ${accept}`));
  if (file) parts.push("-H", quoted(`Content-Type: ${type}`), "--data-binary", quoted(`@${file}`));
  else if (body !== undefined) parts.push("--json", quoted(JSON.stringify(body)));
  return parts.join(" ");
}

/** Yield the server-sent events of an answer as `{event, data}`, the data parsed from JSON. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (waiting + value).split(/\r?\n\r?\n/);
    waiting = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/);
      const of = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim());
      const data = of("data").join("\n");
      if (data) yield { event: of("event")[0] ?? "message", data: JSON.parse(data) };
    }
  }
}
