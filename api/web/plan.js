// A plan as a tree: what each operator was expected to give and take, and what it did.

import { brief, make } from "./api.js";
import { t } from "./words.js";

function operator(node, whole) {
  const { estimated, actual } = node;
  const meter = make("i");
  const share = actual && whole > 0 ? Math.min(1, actual.own_seconds / whole) : 0;
  meter.style.width = `${100 * share}%`;
  const detail = node.detail.startsWith(node.operator) ? node.detail.slice(node.operator.length) : node.detail;
  const facts = [
    actual && t("plan.did", { rows: Math.round(actual.rows), time: brief(actual.own_seconds) }),
    t(actual ? "plan.expected" : "plan.about", { rows: Math.round(estimated.rows), time: brief(estimated.seconds) }),
    estimated.note, node.input && t("plan.read", { input: node.input }),
  ].filter(Boolean).join(" · ");
  const own = [make("strong", { textContent: node.operator }), make("code", { textContent: detail }),
    make("span", { className: "hint", textContent: facts }),
    actual ? make("span", { className: "meter", title: t("plan.share", { share: (100 * share).toFixed(0) }) }, meter) : null];
  if (!node.children.length) return make("li", {}, make("div", { className: "operator" }, ...own));
  return make("li", {}, make("details", { open: true }, make("summary", { className: "operator" }, ...own),
    make("ul", {}, ...node.children.map((child) => operator(child, whole)))));
}

const listed = (title, lines) => (lines.length
  ? make("section", {}, make("h3", { textContent: title }), make("ul", { className: "plain-list" }, ...lines.map((line) => make("li", { textContent: line })))) : null);

export function planTree({ plan, rules, not_done: notDone, estimated_seconds: expected, took_seconds: took }) {
  const total = took === null ? t("plan.total.expected", { expected: brief(expected) }) : t("plan.total", { took: brief(took), expected: brief(expected) });
  return make("div", { className: "plan" },
    make("p", { className: "hint", textContent: total }),
    make("ul", { className: "tree", aria: { label: t("plan.label") } }, operator(plan, took ?? 0)),
    listed(t("plan.rules"), rules), listed(t("plan.not.done"), notDone));
}
