// Queries that stand, and what they found lately.

import { $, busy, button, call, clock, get, make, me, say, send } from "./api.js";
import { play } from "./player.js";

const SHOWN = 50;

const none = (text) => make("li", { className: "hint", textContent: text });

function standing(query) {
  const told = [query.where, query.min_score !== null && `score from ${query.min_score}`, query.url && `tells ${new URL(query.url).host}${query.signed ? ", signed" : ""}`].filter(Boolean).join(" · ");
  return make("li", {}, make("span", { className: "grow" }, make("b", { textContent: query.name }), ` ${query.text} `, make("span", { className: "hint", textContent: told })),
    me.role === "write" ? button("✕", async () => {
      try { await call(`/standing/${encodeURIComponent(query.name)}`, { method: "DELETE" }); await show(); }
      catch (error) { say("standing-said", error.message, true); }
    }, { className: "link", ariaLabel: `Stop looking for ${query.name}` }) : null);
}

function alert(found) {
  const [best] = found.moments;
  const open = button("", () => play(found.moments.map((moment) => ({ ...moment, video_id: found.video.id, name: found.video.name })), 0, found.text), { className: "link" });
  open.append(make("span", { textContent: `${found.query}: ${found.video.name} at ${clock(best.peak_seconds)}` }));
  const state = found.status === "ready" ? null : make("span", { className: `tag ${found.status}`, textContent: found.status === "queued" ? "to be told" : found.status, title: found.error ?? "" });
  return make("li", {}, open, state, make("time", { className: "hint", dateTime: found.created_at, textContent: new Date(found.created_at).toLocaleString() }));
}

async function show() {
  $("standing-form").hidden = me.role !== "write";
  const [queries, alerts] = await Promise.all([get("/standing"), get(`/alerts?limit=${SHOWN}`)]);
  $("standing-list").replaceChildren(...queries.map(standing), queries.length ? "" : none("None stands."));
  $("alert-list").replaceChildren(...alerts.map(alert), alerts.length ? "" : none("Nothing was found yet."));
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
