// Settings: what the server runs on, how well its model does, and what it cannot; to be read only.

import { $, get, long, make, say } from "./api.js";
import { bell } from "./curve.js";
import { card, facts } from "./facts.js";
import { t } from "./words.js";

let turn = 0;

export async function openSettings() {
  const mine = ++turn;
  say("settings-said", "");
  try {
    const told = await get("/settings");
    if (mine !== turn) return;
    $("settings-body").replaceChildren(make("div", { className: "fact-cards" },
      modelCard(told), storeCard(told.store), ingestCard(told.ingest), nullCard(told.model.null), listCard("settings.versions", told.versions), listCard("settings.limits", told.limits)),
      theCard(told.model), checkedCard(told.model.checked));
  } catch (error) {
    if (mine !== turn) return;
    $("settings-body").replaceChildren();
    say("settings-said", error.message, true);
  }
}

function modelCard({ model, role }) {
  return card(t("settings.model"), facts([[t("settings.name"), model.name], [t("settings.space"), model.space], [t("settings.dimensions"), model.dimensions],
    [t("settings.device"), model.device], [t("settings.precision"), model.precision], [t("settings.computed"), model.computed], [t("settings.revision"), model.revision],
    [t("settings.weights"), model.weights.slice(0, 12)], [t("settings.actions"), model.actions], [t("settings.detector"), model.detector ?? t("settings.none")],
    [t("settings.role"), t(`role.${role}`)]]), model.caution && make("p", { className: "hint", textContent: model.caution }));
}

function storeCard(store) {
  const counted = (states, called) => Object.entries(states).map(([state, count]) => [called(state), count]);
  const indexes = store.indexes.flatMap((index) => [make("h4", { textContent: index.space }), facts([[t("settings.index"), index.kind],
    [t("settings.index.rows"), index.rows], [t("settings.index.waiting"), index.waiting], [t("settings.index.state"), index.state]])]);
  return card(t("settings.store"), facts([[t("settings.lasting"), long(store.seconds)], ...counted(store.videos, (state) => t(`state.${state}`))]),
    ...indexes,
    make("h4", { textContent: t("settings.coverage") }), facts(counted(store.embedded, (state) => t(`embedded.${state}`))));
}

function ingestCard(ingest) {
  return card(t("settings.ingest"), facts([[t("settings.fps"), ingest.fps], [t("settings.strategy"), ingest.strategy],
    [t("settings.bound"), ingest.max_drift ?? t("settings.unbound")], [t("settings.decoder"), ingest.decoder],
    [t("settings.gate"), t(ingest.decode_gate ? "settings.on" : "settings.off")]]));
}

const listCard = (key, values) => card(t(key), facts(Object.entries(values)));

// how unrelated texts and frames score, and from where on a match is called clear
function nullCard(found) {
  if (!found) return card(t("settings.null"), make("p", { className: "hint", textContent: t("settings.null.none") }));
  const clear = found.clear.toFixed(3);
  return card(t("settings.null"), bell(found), make("p", { className: "hint", textContent: t("settings.null.is", { middle: found.middle.toFixed(3), width: found.width.toFixed(3), clear, chance: 100 * found.chance, rows: found.rows }) }));
}

function scores({ title, note, head, rows }) {
  const cell = (tag, text, at) => make(tag, { textContent: text, ...(tag === "th" && { scope: at ? "col" : "row" }), className: at ? "number" : "" });
  const inner = make("table", {}, make("caption", { textContent: title }), make("thead", {}, make("tr", {}, ...head.map((text, at) => (text ? cell("th", text, at) : make("td"))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((text, at) => cell(at ? "td" : "th", text, at))))));
  return make("div", {}, make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: title }, inner), make("p", { className: "hint", textContent: note }));
}

function theCard({ card: said }) {
  if (!said) return make("section", { className: "model-card" }, make("h3", { textContent: t("settings.card") }), make("p", { textContent: t("settings.card.none") }));
  return make("section", { className: "model-card" }, make("h3", { textContent: t("settings.card") }), make("p", { textContent: said.about }), facts(said.facts),
    make("h4", { textContent: t("settings.cannot") }), make("ul", {}, ...said.limits.map((text) => make("li", { textContent: text }))),
    make("h4", { textContent: t("settings.scores") }), ...said.scores.map(scores));
}

// what `models check` found of the model, in its words
function checkedCard(found) {
  const when = found ? found.checked_at && t("settings.checked.at", { at: found.checked_at, good: found.good_for }) : t("settings.checked.none");
  return make("section", { className: "model-card checked-card" }, make("h3", { textContent: t("settings.checked") }), when && make("p", { textContent: when }),
    found && make("ul", {}, ...found.lines.map((text) => make("li", { textContent: text }))));
}
