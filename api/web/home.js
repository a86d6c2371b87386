// Home: what there is, what was looked for lately, and what could be.

import { $, button, get, long, make, say, send } from "./api.js";
import { go } from "./route.js";
import { videoCard } from "./videos.js";

const RECENT = "dejavu-recent", MOST = 8, SHOWN = 12;
const OF_THE_WORLD = ["a red circle moves left", "a checkered purple square", "a green star", "a blue ring"];
const OF_ALL = ["a person walks", "a close-up of a face", "a car at night", "water"];

function recent() {
  try { return JSON.parse(localStorage.getItem(RECENT) ?? "[]").filter((each) => typeof each === "string"); }
  catch { return []; }
}

export function keepSearch(text) {
  localStorage.setItem(RECENT, JSON.stringify([text, ...recent().filter((each) => each !== text)].slice(0, MOST)));
}

const chips = (texts) => texts.map((text) => button(text, () => go("find", { q: text }), { className: "chip" }));

export async function home() {
  const lately = recent();
  $("recent").hidden = !lately.length;
  $("recent-list").replaceChildren(...chips(lately));
  const failed = (error) => say("find-said", error.message, true);
  await Promise.all([library().catch(failed), sums().catch(failed), examples().catch(failed)]);
}

async function library() {
  const { videos, next_cursor: more } = await get(`/videos?limit=${SHOWN}`);
  $("home-grid").replaceChildren(...videos.map((video) => videoCard(video)),
    videos.length ? "" : make("p", { className: "said" }, "Add one under ", make("a", { href: "#videos", textContent: "Videos" }), ", or with ", make("code", { textContent: "dejavu-engine ingest" }), "."));
  $("home-all").hidden = !more;
}

async function sums() {
  const { rows } = await send("/sql", { sql: "SELECT count(*) AS num, sum(duration_seconds) AS seconds FROM videos" });
  const [{ num, seconds }] = rows;
  $("home-title").textContent = num ? `${num.toLocaleString()} ${num === 1 ? "video" : "videos"}, ${long(seconds ?? 0)}` : "No videos yet";
  $("examples").hidden = !num;
}

// the built-in model knows made-up clips only
async function examples() {
  const { model } = await get("/readyz");
  $("examples-list").replaceChildren(...chips(model.startsWith("builtin") ? OF_THE_WORLD : OF_ALL));
}
