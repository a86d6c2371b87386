// Videos: the library, a page at a time: a store may hold a hundred thousand.

import { $, button, call, clock, get, make, me, say, whenSeen } from "./api.js";
import { picture } from "./moments.js";
import { play } from "./player.js";
import { address, go } from "./route.js";
import { scrubbed } from "./scrub.js";

const PAGE = 60;
let turn = 0;

export function videoCard(video, tools = []) {
  const length = video.duration_seconds;
  const open = make("button", { type: "button", className: "open", title: `Play ${video.name}` },
    length && !video.source_gone ? picture(`/videos/${video.id}/frames/${(length / 2).toFixed(1)}.jpg?width=320`, `Play ${video.name}`) : make("div", { className: "picture none", textContent: video.source_gone ? "file gone" : "no picture" }),
    length ? make("span", { className: "length", textContent: clock(length, 0) }) : null);
  open.disabled = !length || video.source_gone;
  scrubbed(open, video);
  open.addEventListener("click", () => play([{ video_id: video.id, name: video.name, start_seconds: 0, stop_seconds: 0, peak_seconds: 0 }], 0, null));
  const tags = [video.status !== "ready" && make("span", { className: `tag ${video.status}`, textContent: video.status }),
    video.source_gone && make("span", { className: "tag gone", textContent: "source gone" })];
  return make("article", { className: "video", data: { id: video.id } }, open,
    make("div", { className: "text" },
      make("a", { className: "name", href: address("video", { id: video.id }), textContent: video.name, title: `${video.names.join(", ")}: its page` }), ...tags,
      video.error ? make("p", { className: "said bad", textContent: video.error }) : null, ...tools));
}

function managed(video) {
  const tools = make("div", { className: "tools" });
  if (video.status === "ready") tools.append(button("Search in it", () => { go("find", { video: video.name }); $("find-form").text.focus(); }));
  if (me.role === "write") {
    tools.append(button("Remove", async () => {
      if (!confirm(`Remove ${video.name} from the store? The file itself stays; an upload goes.`)) return;
      try { await call(`/videos/${video.id}`, { method: "DELETE" }); node.remove(); }
      catch (error) { say("videos-said", error.message, true); }
    }, { className: "quiet remove", ariaLabel: `Remove ${video.name}` }));
  }
  const node = videoCard(video, [tools]);
  return node;
}

export async function openVideos(state) {
  const mine = ++turn;
  const wanted = state.name ?? "";
  if (document.activeElement !== $("name-form").name) $("name-form").name.value = wanted;
  try {
    me.role = (await get("/me")).role;
    $("upload-form").hidden = me.role !== "write";
    if (mine === turn) await listPage(null, wanted, mine);
  } catch (error) {
    $("video-list").replaceChildren(); // nothing old below an error
    say("videos-said", error.message, true);
  }
}

async function listPage(cursor, name, mine) {
  const asked = new URLSearchParams({ limit: PAGE, ...(cursor && { cursor }), ...(name && { name: /[*?[]/.test(name) ? name : `*${name}*` }) });
  const page = await get(`/videos?${asked}`);
  if (mine !== turn) return;
  const cards = page.videos.map(managed);
  if (cursor) $("video-list").append(...cards); else $("video-list").replaceChildren(...cards);
  say("videos-said", cursor || cards.length ? "" : name ? `No video is called ${name}.` : "No videos yet.");
  if (page.next_cursor) {
    whenSeen(cards.at(-1), () => listPage(page.next_cursor, name, mine).catch((error) => say("videos-said", error.message, true)));
  }
}

$("name-form").addEventListener("submit", (event) => { event.preventDefault(); go("videos", { name: event.target.name.value.trim() }); });
