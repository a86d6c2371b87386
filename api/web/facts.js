// Cards of facts: names with what they are.

import { make } from "./api.js";
import { language, t } from "./words.js";

export const share = (value) => (typeof value === "number" ? t("app.percent", { share: (100 * value).toFixed(1) }) : null);
export const day = (value) => value && new Date(value).toLocaleString(language);

export function facts(pairs) {
  const kept = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return make("dl", {}, ...kept.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: typeof value === "number" ? value.toLocaleString(language) : value })]));
}

export const card = (title, ...children) => make("section", { className: "fact-card" }, make("h3", { textContent: title }), ...children);
