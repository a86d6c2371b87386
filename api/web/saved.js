// Statements that were run and those that were kept by name; both stay in this browser.

import { $, button, make } from "./api.js";
import { language, t } from "./words.js";

const HISTORY = "dejavu-history", SAVED = "dejavu-saved", MOST = 50, LONGEST = 20_000;

function read(name) {
  try {
    const kept = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => typeof each?.sql === "string") : [];
  } catch { return []; }
}

function write(name, kept) {
  try { localStorage.setItem(name, JSON.stringify(kept.slice(0, MOST))); }
  catch { /* no room: the statement ran all the same */ }
}

export function keepStatement(sql) {
  if (sql.length > LONGEST) return;
  write(HISTORY, [{ sql, at: Date.now() }, ...read(HISTORY).filter((each) => each.sql !== sql)]);
}

const line = (sql) => sql.replace(/\s+/g, " ").trim();

function entry(each, choose, remove) {
  const title = each.name ?? line(each.sql);
  const named = make("button", { type: "button", className: "link", title: each.sql }, make("span", { textContent: title }));
  named.addEventListener("click", () => choose(each.sql));
  return make("li", {}, named,
    each.at ? make("time", { className: "hint", dateTime: new Date(each.at).toISOString(), textContent: new Date(each.at).toLocaleString(language) }) : null,
    button("✕", remove, { className: "link", ariaLabel: t("sql.forget", { name: title.slice(0, 80) }) }));
}

// `choose(sql)` takes one up
export function showSaved(choose) {
  for (const [name, id, none] of [[SAVED, "saved-list", t("sql.saved.none")], [HISTORY, "history-list", t("sql.lately.none")]]) {
    const kept = read(name);
    const forget = (sql, title) => { write(name, read(name).filter((each) => each.sql !== sql || each.name !== title)); showSaved(choose); };
    $(id).replaceChildren(...kept.map((each) => entry(each, choose, () => forget(each.sql, each.name))));
    if (!kept.length) $(id).append(make("li", { className: "hint", textContent: none }));
  }
}

export function saveStatement(name, sql) {
  write(SAVED, [{ name, sql }, ...read(SAVED).filter((each) => each.name !== name)]);
}
