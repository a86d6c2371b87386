// Videos: the library, a page at a time: a store may hold a hundred thousand.

import { $, button, call, get, lasting, make, me, say } from "./api.js";
import { picture } from "./moments.js";
import { play } from "./player.js";
import { gridOf } from "./grid.js";
import { address, go, here } from "./route.js";
import { scrubbed } from "./scrub.js";
import { t } from "./words.js";

const PAGE = 60;
let turn = 0;

export function videoCard(video, tools = []) {
  const length = video.duration_seconds;
  const open = make("button", { type: "button", className: "open", title: t("videos.play", { name: video.name }) },
    length && !video.source_gone ? picture(`/videos/${video.id}/frames/${(length / 2).toFixed(1)}.jpg?width=320`, t("videos.play", { name: video.name })) : make("div", { className: "picture none", textContent: video.source_gone ? t("videos.file.gone") : t("moment.picture") }),
    length ? make("span", { className: "length", textContent: lasting(length) }) : null);
  open.disabled = !length || video.source_gone;
  scrubbed(open, video);
  open.addEventListener("click", () => play([{ video_id: video.id, name: video.name, start_seconds: 0, stop_seconds: 0, peak_seconds: 0 }], 0, null));
  const tags = [video.status !== "ready" && make("span", { className: `tag ${video.status}`, textContent: t(`state.${video.status}`) }),
    video.source_gone && make("span", { className: "tag gone", textContent: t("videos.gone") })];
  return make("article", { className: "video", data: { id: video.id } }, open,
    make("div", { className: "text" },
      make("a", { className: "name", href: address("video", { id: video.id }), textContent: video.name, title: t("videos.page", { names: video.names.join(t("app.and")) }) }), ...tags,
      video.error ? make("p", { className: "said bad", textContent: video.error }) : null, ...tools));
}

function managed(video) {
  const tools = make("div", { className: "tools" });
  if (video.status === "ready") tools.append(button(t("videos.search"), () => { go("find", { video: video.name }); $("find-form").text.focus(); }));
  if (me.role === "write") {
    tools.append(button(t("videos.remove"), async () => {
      if (!confirm(t("videos.remove.sure", { name: video.name }))) return;
      try { await call(`/videos/${video.id}`, { method: "DELETE" }); await openVideos(here().state); }
      catch (error) { await openVideos(here().state); say("videos-said", error.message, true); } // somebody else may have removed it
    }, { className: "quiet remove", ariaLabel: t("videos.remove.label", { name: video.name }) }));
  }
  return videoCard(video, [tools]);
}

const wantedOf = (name) => (name ? { name: /[*?[]/.test(name) ? name : `*${name}*` } : {});

export async function openVideos(state) {
  const mine = ++turn;
  const wanted = state.name ?? "";
  if (document.activeElement !== $("name-form").name) $("name-form").name.value = wanted;
  try {
    me.role = (await get("/me")).role;
    $("upload-form").hidden = me.role !== "write";
    const { ids } = await get(`/videos/ids?${new URLSearchParams(wantedOf(wanted))}`);
    if (mine !== turn) return;
    say("videos-said", ids.length ? t("videos.count", { count: ids.length }) : wanted ? t("videos.no.match", { name: wanted }) : t("videos.none"));
    gridOf($("video-list"), ids.length, PAGE, (from) => page(ids, from, wanted), managed, (error) => say("videos-said", error.message, true));
  } catch (error) {
    if (mine !== turn) return;
    gridOf($("video-list"), 0); // nothing old below an error
    say("videos-said", error.message, true);
  }
}

async function page(ids, from, name) {
  const asked = new URLSearchParams({ limit: PAGE, ...(from && { cursor: ids[from - 1] }), ...wantedOf(name) });
  return (await get(`/videos?${asked}`)).videos;
}

$("name-form").addEventListener("submit", (event) => { event.preventDefault(); go("videos", { name: event.target.name.value.trim() }); });
