// Home: what there is, what was looked for lately, and what could be.

import { $, button, get, long, make, say, send } from "./api.js";
import { play } from "./player.js";
import { go } from "./route.js";
import { videoCard } from "./videos.js";
import { parts, t } from "./words.js";

const INGEST = "dejavu-engine ingest FOLDER";
const RECENT = "dejavu-recent", MOST = 8, SHOWN = 12;

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
    videos.length ? "" : make("p", { className: "said" }, ...parts("home.begin", { videos: make("a", { href: "#videos", textContent: t("app.videos") }), command: make("code", { textContent: INGEST }) })));
  $("home-all").hidden = !more;
}

async function sums() {
  const { rows } = await send("/sql", { sql: "SELECT count(*) AS num, sum(duration_seconds) AS seconds FROM videos" });
  const [{ num, seconds }] = rows;
  $("home-title").textContent = num ? t("home.sums", { count: num, time: long(seconds ?? 0) }) : t("home.none");
}

// what the store itself holds; without any the heading goes
async function examples() {
  const found = await get("/examples");
  $("examples").hidden = !found.length;
  $("examples-list").replaceChildren(...found.map(chipOf));
}

function chipOf({ kind, text, video_id: video, name, seconds }) {
  const act = {
    label: () => play([{ video_id: video, name, start_seconds: seconds, stop_seconds: seconds, peak_seconds: seconds }], 0, null),
    said: () => go("sql", { q: `SELECT video_id, name, duration_seconds, 0.0 AS seconds FROM videos WHERE ${text}` }),
    frame: () => go("find", { like: `${video}@${seconds.toFixed(3)}` }),
  };
  return button(kind === "frame" ? t("home.example.frame", { name }) : text, act[kind], { className: "chip", title: t(`example.${kind}`) });
}
