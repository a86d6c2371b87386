// Calls of the public API, and the few things that every part of the page needs.

import { t, visible } from "./words.js";

export const $ = (id) => document.getElementById(id);
const BUSY = 12; // milliseconds of work at a stretch
const LARGE = /[^\d."]\d{16}/; // more than a number of JavaScript holds exactly, it may be
const held = new Set(); // object URLs of what is shown
export const me = { role: "read" }; // what the key allows; the page offers no more

export function make(tag, properties = {}, ...children) {
  const { aria, data, textContent, title, ariaLabel, alt, ...rest } = properties;
  const said = Object.entries({ textContent, title, ariaLabel, alt }).filter(([, value]) => value !== undefined);
  const node = Object.assign(document.createElement(tag), rest, Object.fromEntries(said.map(([name, value]) => [name, visible(value)])));
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(`aria-${name}`, visible(value));
  Object.assign(node.dataset, data);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(visible));
  return node;
}

export function button(text, act, properties = {}) {
  const node = make("button", { type: "button", className: "quiet", textContent: text, ...properties });
  node.addEventListener("click", act);
  return node;
}

export function authorized(headers = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
}

export async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: authorized(options.headers) })
    .catch(() => { throw new Error(t("app.silent")); });
  if (response.ok) return response;
  if (response.status === 401 && !$("key-dialog").open) $("key-dialog").showModal();
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Error(problem.caret ? `${problem.detail}\n${problem.caret}` : problem.detail);
}

export const get = async (path) => (await call(path)).json();

export async function send(path, body, accept = "application/json") {
  const headers = { "Content-Type": "application/json", Accept: accept };
  const response = await call(path, { method: "POST", headers, body: JSON.stringify(body) });
  return accept === "application/json" ? response.json() : response.blob();
}

// an integer that would be rounded stays as it is written, where the browser tells how
const whole = (_, value, context) => (Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source ? context.source : value);

// rows of a statement, read a thousand at a time with room for others in between, so that a hundred
// thousand do not hold up the page; `told(count, of)` hears how many are there
export async function rowsOf(sql, told = () => {}, params = undefined) {
  const headers = { "Content-Type": "application/json", Accept: "application/x-ndjson" };
  const response = await call("/sql", { method: "POST", headers, body: JSON.stringify({ sql, params }) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const found = { columns: [], rows: [], num_rows: 0 };
  let text = [], since = performance.now();
  const take = async (line) => {
    const { rows, ...rest } = JSON.parse(line, LARGE.test(line) ? whole : undefined);
    if (rows) { for (const row of rows) found.rows.push(row); told(found.rows.length, found.num_rows); } else Object.assign(found, rest);
    if (performance.now() - since > BUSY) { await new Promise((next) => setTimeout(next)); since = performance.now(); }
  };
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = part.value.split("\n");
    text.push(lines[0]);
    if (lines.length === 1) continue;
    await take(text.join(""));
    for (const line of lines.slice(1, -1)) await take(line);
    text = [lines.at(-1)];
  }
  if (!found.timing) throw new Error(t("app.broken"));
  return found;
}

// the browser itself loads, seeks and keeps what needs no key; a key goes into a header, so then we load
export async function sourceOf(path) {
  if (!sessionStorage.getItem("key")) return path;
  const url = URL.createObjectURL(await (await call(path)).blob());
  held.add(url);
  return url;
}

export function forget() {
  for (const url of held) URL.revokeObjectURL(url);
  held.clear();
}

export async function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function say(id, text, bad = false) {
  $(id).textContent = visible(text);
  $(id).classList.toggle("bad", bad);
}

export function clock(seconds, places = 1) {
  const whole = Math.max(0, seconds);
  const hours = Math.floor(whole / 3600), minutes = Math.floor((whole % 3600) / 60);
  const rest = (Math.floor((whole % 60) * 10 ** places) / 10 ** places).toFixed(places).padStart(places ? places + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// how long a video is: a tenth counts in a short one
export const lasting = (seconds) => clock(seconds, seconds < 10 ? 1 : 0);

// how long something took
export function brief(seconds) {
  if (seconds >= 60) return long(seconds);
  if (seconds >= 1) return t("time.second", { number: seconds.toFixed(2) });
  return t("time.milliseconds", { number: (seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0) });
}

export function long(seconds) {
  if (seconds >= 3600) return t("time.hours", { number: (seconds / 3600).toFixed(1) });
  return seconds >= 60 ? t("time.minutes", { number: (seconds / 60).toFixed(0) }) : t("time.seconds", { number: seconds.toFixed(0) });
}

const turns = new WeakMap(); // of forms: how often each was at work

// a form at work: its buttons wait, and an error takes the place of what was shown; of two pieces of
// work the later one counts, however long the earlier one takes: `work` asks `still()` before it shows
export async function busy(form, id, work, clear = () => {}) {
  const mine = (turns.get(form) ?? 0) + 1, still = () => turns.get(form) === mine;
  turns.set(form, mine);
  const buttons = form.querySelectorAll("button");
  buttons.forEach((each) => { each.disabled = true; });
  try { await work(still); }
  catch (error) { if (still()) { clear(); say(id, error.message, true); } }
  finally { if (still()) buttons.forEach((each) => { each.disabled = false; }); }
}

// do something once an element comes near what is seen
export function whenSeen(node, act) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  }, { rootMargin: "200px" });
  observer.observe(node);
}
