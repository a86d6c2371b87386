// The player: the video around a moment, its timeline, and the way to the next one.

import { $, call, clock, get, save, say, sourceOf } from "./api.js";
import { amend, here } from "./route.js";
import { boxesAt, draw, fit, storedBoxes } from "./boxes.js";
import { curveOf, drawing } from "./curve.js";
import { t } from "./words.js";

const AROUND = 20; // seconds shown before and after a moment
const MOST = 100; // seconds in one piece; servers cut 120 as they come
const video = $("clip");
let list = [], place = 0, text = null; // the moments that can be stepped through, and what found them
let drawn = null; // the frames of the video that have boxes, once they are asked for
let piece = { start: 0, stop: 0 }, length = 0, fps = 25, opened = 0;

const moment = () => list[place];
export const nameOf = (item) => `${item.video_id}@${item.peak_seconds ?? 0}`;

// `among` are the moments around it; `said` is the text that found them, null for a picture
export async function play(among, at, said) {
  [list, place, text] = [among, at, said];
  const turn = ++opened, item = moment();
  amend({ at: nameOf(item) });
  if (!$("player").open) $("player").showModal();
  const span = item.stop_seconds > item.start_seconds ? t("time.span", { start: clock(item.start_seconds), stop: clock(item.stop_seconds) }) : "";
  say("player-name", item.name);
  $("player-facts").textContent = [span, t("player.peak.at", { time: clock(item.peak_seconds) }), item.score !== undefined && t("player.score", { score: item.score.toFixed(3) }),
    list.length > 1 && t("player.place", { place: place + 1, count: list.length })].filter(Boolean).join(" · ");
  for (const [id, to] of [["previous", place - 1], ["next", place + 1]]) $(id).disabled = !list[to];
  $("more-like").hidden = here().tab === "sql";
  video.removeAttribute("src");
  $("timeline").replaceChildren();
  drawn = null;
  drawBoxes();
  if ($("show-boxes").getAttribute("aria-pressed") === "true") findBoxes();
  try {
    const facts = await get(`/videos/${item.video_id}`);
    if (turn !== opened) return;
    length = facts.duration_seconds ?? item.stop_seconds;
    fps = facts.fps || 25;
    drawTimeline(null);
    if (facts.source_gone) throw new Error(t("player.gone"));
    const from = Math.max(0, Math.min(item.start_seconds, item.peak_seconds) - AROUND);
    await load(from, Math.min(length, Math.max(item.stop_seconds + AROUND, item.peak_seconds + AROUND), from + MOST), item.peak_seconds);
    if (text) {
      const curve = await curveOf(item.video_id, text);
      if (turn === opened) drawTimeline(curve);
    }
  } catch (error) { if (turn === opened) say("clip-said", error.message, true); }
}

async function load(start, stop, at, go = true) {
  if (at < start || at >= stop) { start = Math.max(0, at - AROUND); stop = Math.min(length, start + 2 * AROUND); }
  piece = { start, stop };
  const turn = opened;
  say("clip-said", t("player.cutting"));
  const url = await sourceOf(`/videos/${moment().video_id}/clip.mp4?start=${start.toFixed(3)}&stop=${stop.toFixed(3)}`);
  if (turn !== opened) return;
  video.onloadedmetadata = () => { video.currentTime = Math.max(0, at - start); };
  video.onloadeddata = () => { say("clip-said", ""); if (go) video.play().catch(() => {}); };
  video.src = url;
  markPiece();
}

function drawTimeline(curve) {
  const old = $("timeline");
  const cursor = Object.assign(document.createElement("i"), { id: "cursor" });
  const range = Object.assign(document.createElement("b"), { id: "piece" });
  old.replaceChildren(range, drawing(length || 1, moment(), curve), cursor);
  $("timeline-end").textContent = clock(length, 0);
  old.setAttribute("aria-valuemax", length.toFixed(1));
  markPiece();
  follow();
}

function markPiece() {
  const node = $("piece");
  if (!node || !length) return;
  node.style.left = `${(100 * piece.start) / length}%`;
  node.style.width = `${(100 * (piece.stop - piece.start)) / length}%`;
}

const now = () => piece.start + video.currentTime;

function follow() {
  if (!length || !$("cursor")) return;
  $("cursor").style.left = `${Math.min(100, (100 * now()) / length)}%`;
  $("timeline-now").textContent = clock(now());
  $("timeline").setAttribute("aria-valuenow", now().toFixed(1));
  $("timeline").setAttribute("aria-valuetext", clock(now()));
}

// boxes of what was found in the frames, where that is stored
function drawBoxes() {
  const on = $("show-boxes").getAttribute("aria-pressed") === "true";
  fit($("boxes"), video, video.videoWidth || 16, video.videoHeight || 9);
  draw($("boxes"), on && drawn && video.readyState > 0 ? boxesAt(drawn, now()) : []);
}

async function findBoxes() {
  const turn = opened;
  drawn = null;
  try {
    const { frames } = await storedBoxes(moment().video_id);
    if (turn !== opened) return;
    drawn = frames;
    if (!frames.length) say("clip-said", t("player.boxes.none"));
  } catch (error) { if (turn === opened) say("clip-said", error.message, true); }
  drawBoxes();
}
$("show-boxes").addEventListener("click", () => {
  const on = $("show-boxes").getAttribute("aria-pressed") !== "true";
  $("show-boxes").setAttribute("aria-pressed", String(on));
  if (on) findBoxes(); else drawBoxes();
});
for (const event of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(event, drawBoxes);
addEventListener("resize", drawBoxes);
video.addEventListener("timeupdate", follow);
video.addEventListener("seeking", follow);

function seek(seconds) {
  const to = Math.min(Math.max(seconds, 0), Math.max(0, length - 0.05));
  if (to >= piece.start && to < piece.stop) video.currentTime = to - piece.start;
  else load(Math.max(0, to - AROUND), Math.min(length, to + AROUND), to, !video.paused).catch((error) => say("clip-said", error.message, true));
}

// what follows is played too, so that the whole video can be seen
video.addEventListener("ended", () => {
  if (piece.stop < length - 0.05) load(piece.stop, Math.min(length, piece.stop + 2 * AROUND), piece.stop).catch((error) => say("clip-said", error.message, true));
});
video.addEventListener("error", async () => {
  const path = video.getAttribute("src");
  if (!path?.startsWith("/")) return;
  try { await call(path); say("clip-said", t("player.unplayable"), true); }
  catch (error) { say("clip-said", error.message, true); } // why it cannot be played
});

function step(frames) {
  video.pause();
  seek(now() + frames / fps);
}

const move = (by) => { if (list[place + by]) play(list, place + by, text); };

$("timeline").addEventListener("click", (event) => {
  const box = $("timeline").getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * length);
});
$("previous").addEventListener("click", () => move(-1));
$("next").addEventListener("click", () => move(1));
$("back-frame").addEventListener("click", () => step(-1));
$("on-frame").addEventListener("click", () => step(1));
$("to-peak").addEventListener("click", () => seek(moment().peak_seconds));
$("copy-link").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText(location.href); say("clip-said", t("player.copied")); }
  catch { say("clip-said", location.href); } // no clipboard without https: it can be marked and copied
});
$("download").addEventListener("click", async () => {
  const item = moment();
  const path = item.clip_url ?? `/videos/${item.video_id}/clip.mp4?start=${piece.start.toFixed(3)}&stop=${piece.stop.toFixed(3)}`;
  try { await save(await (await call(path)).blob(), `${item.name.replace(/\.\w+$/, "")}-${clock(item.peak_seconds).replaceAll(":", ".")}.mp4`); }
  catch (error) { say("clip-said", error.message, true); }
});
$("more-like").addEventListener("click", () => {
  const item = moment(), seconds = now();
  $("player").close();
  dispatchEvent(new CustomEvent("like", { detail: { video: item.video_id, seconds, name: item.name } }));
});

$("player").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const slider = event.target === $("timeline");
  const keys = {
    ArrowLeft: () => (slider ? seek(now() - 1) : move(-1)), ArrowRight: () => (slider ? seek(now() + 1) : move(1)),
    ",": () => step(-1), ".": () => step(1), p: () => seek(moment().peak_seconds), b: () => $("show-boxes").click(),
    " ": () => (video.paused ? video.play() : video.pause()),
  };
  if (slider) Object.assign(keys, { Home: () => seek(0), End: () => seek(length) });
  if (!keys[event.key] || (event.key === " " && event.target.tagName === "BUTTON")) return;
  event.preventDefault();
  keys[event.key]();
});
$("player").addEventListener("click", (event) => { if (event.target === $("player")) $("player").close(); });
$("player").addEventListener("close", () => {
  opened++;
  video.removeAttribute("src");
  video.load();
  amend({ at: "" });
});
