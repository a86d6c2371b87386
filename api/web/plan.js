// A plan as a tree: what each operator was expected to give and take, and what it did.

import { make } from "./api.js";

const number = (value) => Math.round(value).toLocaleString();
const time = (seconds) => (seconds >= 1 ? `${seconds.toFixed(2)} s` : `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0)} ms`);

function operator(node, whole) {
  const { estimated, actual } = node;
  const meter = make("i");
  const share = actual && whole > 0 ? Math.min(1, actual.own_seconds / whole) : 0;
  meter.style.width = `${100 * share}%`;
  const detail = node.detail.startsWith(node.operator) ? node.detail.slice(node.operator.length) : node.detail;
  const facts = [
    actual && `${number(actual.rows)} rows in ${time(actual.own_seconds)}`,
    `${actual ? "expected" : "about"} ${number(estimated.rows)} rows in ${time(estimated.seconds)}`,
    estimated.note, node.input && `read as ${node.input}`,
  ].filter(Boolean).join(" · ");
  const own = [make("strong", { textContent: node.operator }), make("code", { textContent: detail }),
    make("span", { className: "hint", textContent: facts }),
    actual ? make("span", { className: "meter", title: `${(100 * share).toFixed(0)} % of the time` }, meter) : null];
  if (!node.children.length) return make("li", {}, make("div", { className: "operator" }, ...own));
  return make("li", {}, make("details", { open: true }, make("summary", { className: "operator" }, ...own),
    make("ul", {}, ...node.children.map((child) => operator(child, whole)))));
}

const listed = (title, lines) => (lines.length
  ? make("section", {}, make("h3", { textContent: title }), make("ul", { className: "plain-list" }, ...lines.map((line) => make("li", { textContent: line })))) : null);

export function planTree({ plan, rules, not_done: notDone, estimated_seconds: expected, took_seconds: took }) {
  const total = took === null ? `expected to take ${time(expected)}` : `took ${time(took)}, expected ${time(expected)}`;
  return make("div", { className: "plan" },
    make("p", { className: "hint", textContent: `What it reads stands below each step; the statement ${total}.` }),
    make("ul", { className: "tree", aria: { label: "Plan" } }, operator(plan, took ?? 0)),
    listed("Rules that made it", rules), listed("Not done, and why", notDone));
}
