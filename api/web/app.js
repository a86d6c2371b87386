// The page of dejavu-engine: plain modules, no build step. All of it goes through the public API.

import { $, say } from "./api.js";
import { openAsk } from "./ask.js";
import { openFind } from "./find.js";
import { listJobs } from "./jobs.js";
import { go, here } from "./route.js";
import { openSettings } from "./settings.js";
import { openSql } from "./sql.js";
import "./standing.js";
import { openVideo } from "./video.js";
import { openVideos } from "./videos.js";
import { fill, t } from "./words.js";

const OPEN = {
  find: openFind, ask: openAsk, sql: openSql, video: openVideo, settings: openSettings,
  videos: (state) => openVideos(state).then(listJobs).catch((error) => say("videos-said", error.message, true)),
};
const tabs = [...document.querySelectorAll("[data-tab]")];

let shown = {}; // the page, and of a video its id

function open() {
  const { tab, state } = here();
  for (const each of tabs) {
    const chosen = each.dataset.tab === (tab === "video" ? "videos" : tab);
    each.setAttribute("aria-selected", String(chosen));
    each.tabIndex = chosen ? 0 : -1;
    $(`${each.dataset.tab}-panel`).hidden = each.dataset.tab !== tab;
  }
  $("video-panel").hidden = tab !== "video";
  document.title = t("app.shown", { what: state.q || t(`app.${tab}`) });
  if (!state.at && $("player").open) $("player").close();
  if (tab !== shown.tab || tab === "video") scrollTo(0, 0);
  if (tab === "video" && state.at && shown.id === state.id) return; // the player's own doing
  shown = { tab, id: state.id };
  OPEN[tab](state);
}

for (const [place, each] of tabs.entries()) {
  each.addEventListener("click", () => go(each.dataset.tab));
  each.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs.at(to % tabs.length);
    next.focus();
    next.click();
  });
}
addEventListener("hashchange", open);

for (const id of ["player", "key-dialog"]) $(`${id}-close`)?.addEventListener("click", () => $(id).close());
$("key").addEventListener("click", () => $("key-dialog").showModal());
$("key-form").addEventListener("submit", (event) => {
  sessionStorage.setItem("key", event.target.key.value);
  event.target.reset();
  open();
});

async function refresh() {
  const node = $("status");
  try {
    const ready = await (await fetch("/readyz")).json();
    node.textContent = ready.model ? t("app.model.on", ready) : ready.detail;
    node.className = `status ${ready.model ? "ready" : "away"}`;
  } catch {
    node.textContent = t("app.silent");
    node.className = "status away";
  }
}

fill();
open();
refresh();
setInterval(refresh, 15000);
