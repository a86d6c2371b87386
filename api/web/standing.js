// Queries that stand, and what they found lately.

import { $, busy, button, call, clock, get, make, me, say, send } from "./api.js";
import { play } from "./player.js";
import { language, t } from "./words.js";

const SHOWN = 50;

const none = (text) => make("li", { className: "hint", textContent: text });

function standing(query) {
  const told = [query.where, query.min_score !== null && t("standing.score", { score: query.min_score }), query.url && t(query.signed ? "standing.signed" : "standing.tells", { host: new URL(query.url).host })].filter(Boolean).join(" · ");
  return make("li", {}, make("span", { className: "grow" }, make("b", { textContent: query.name }), ` ${query.text} `, make("span", { className: "hint", textContent: told })),
    me.role === "write" ? button("✕", async () => {
      try { await call(`/standing/${encodeURIComponent(query.name)}`, { method: "DELETE" }); await show(); }
      catch (error) { say("standing-said", error.message, true); }
    }, { className: "link", ariaLabel: t("standing.stop", { name: query.name }) }) : null);
}

function alert(found) {
  const [best] = found.moments;
  const open = button("", () => play(found.moments.map((moment) => ({ ...moment, video_id: found.video.id, name: found.video.name })), 0, found.text), { className: "link" });
  open.append(make("span", { textContent: t("standing.found", { query: found.query, name: found.video.name, time: clock(best.peak_seconds) }) }));
  const state = found.status === "ready" ? null : make("span", { className: `tag ${found.status}`, textContent: t(found.status === "queued" ? "state.told" : `state.${found.status}`), title: found.error ?? "" });
  return make("li", {}, open, state, make("time", { className: "hint", dateTime: found.created_at, textContent: new Date(found.created_at).toLocaleString(language) }));
}

async function show() {
  $("standing-form").hidden = me.role !== "write";
  const [queries, alerts] = await Promise.all([get("/standing"), get(`/alerts?limit=${SHOWN}`)]);
  $("standing-list").replaceChildren(...queries.map(standing), queries.length ? "" : none(t("standing.none")));
  $("alert-list").replaceChildren(...alerts.map(alert), alerts.length ? "" : none(t("standing.alerts.none")));
}

$("standing").addEventListener("toggle", () => { if ($("standing").open) show().catch((error) => say("standing-said", error.message, true)); });
$("standing-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy(form, "standing-said", async () => {
    say("standing-said", "");
    await send("/standing", { name: form.name.value, text: form.text.value.trim(), url: form.url.value || null });
    form.reset();
    await show();
  });
});
