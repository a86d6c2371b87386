// One video: its pictures over its time, what changes when, what is said of it, and how it came in.

import { $, button, call, clock, get, lasting, make, me, say, send } from "./api.js";
import { drawing } from "./curve.js";
import { card, day, facts, share } from "./facts.js";
import { objectsCard } from "./objects.js";
import { play } from "./player.js";
import { go } from "./route.js";
import { spriteOf, tile, tilesOf } from "./scrub.js";
import { t } from "./words.js";

const SHOWN = 12; // pictures of the strip
let turn = 0;

export async function openVideo(state) {
  const mine = ++turn, id = Number(state.id);
  say("video-said", "");
  try {
    if (!Number.isInteger(id)) throw new Error(t("video.unknown", { id: state.id ?? "" }));
    const [video, who] = await Promise.all([get(`/videos/${id}`), get("/me")]);
    me.role = who.role;
    if (mine !== turn) return;
    document.title = t("app.shown", { what: video.name });
    say("video-title", video.name);
    const still = () => mine === turn;
    $("video-body").replaceChildren(tools(video), time(video, still), make("div", { className: "fact-cards" },
      fileCard(video), rowsCard(video, still), saidCard(video), jobsCard(video, still), movesCard(video), objectsCard(video, still)));
  } catch (error) {
    if (mine !== turn) return;
    $("video-title").textContent = t("video.title");
    $("video-body").replaceChildren();
    say("video-said", error.message, true);
  }
}

const at = (video, seconds) => [{ video_id: video.id, name: video.name, start_seconds: seconds, stop_seconds: seconds, peak_seconds: seconds }];

function tools(video) {
  const node = make("div", { className: "tools" });
  if (video.status !== "ready") node.append(make("span", { className: `tag ${video.status}`, textContent: t(`state.${video.status}`) }));
  if (video.source_gone) node.append(make("span", { className: "tag gone", textContent: t("videos.gone") }));
  if (video.source_changed) node.append(make("span", { className: "tag gone", textContent: t("videos.changed") }));
  if (video.duration_seconds && !video.source_gone) node.append(button(t("video.play"), () => play(at(video, 0), 0, null), { className: "" }));
  if (video.status === "ready") node.append(button(t("videos.search"), () => { go("find", { video: video.name }); $("find-form").text.focus(); }));
  return node;
}

// the strip of pictures, the activity below it, and a slider over both
function time(video, still) {
  const length = video.duration_seconds;
  if (!length) return make("p", { className: "said bad", textContent: video.error ?? t("video.no.frames") });
  const tiles = tilesOf(length), strip = make("div", { className: "filmstrip" }), big = make("div", { className: "big-tile" });
  const cursor = make("i", { className: "cursor" }), chart = make("div", { className: "activity" });
  const now = make("span", { textContent: clock(0) });
  const slider = make("div", { className: "scrubber", tabIndex: 0, role: "slider", title: t("video.time.title"),
    aria: { label: t("player.time"), valuemin: "0", valuemax: length.toFixed(1), valuenow: "0", valuetext: clock(0) } }, strip, chart, cursor);
  let seconds = 0, shown = null;
  const show = (to) => {
    seconds = Math.min(Math.max(to, 0), Math.max(0, length - 0.05));
    cursor.style.left = `${(100 * seconds) / length}%`;
    shown?.show(Math.floor((seconds / length) * tiles));
    now.textContent = clock(seconds);
    slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    slider.setAttribute("aria-valuetext", clock(seconds));
  };
  const pointed = (event) => { const box = slider.getBoundingClientRect(); return (length * (event.clientX - box.left)) / box.width; };
  slider.addEventListener("pointermove", (event) => show(pointed(event)));
  slider.addEventListener("click", (event) => { show(pointed(event)); if (!video.source_gone) play(at(video, seconds), 0, null); });
  slider.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: () => show(seconds - length / tiles), ArrowRight: () => show(seconds + length / tiles), Home: () => show(0), End: () => show(length),
      PageUp: () => show(seconds + length / 10), PageDown: () => show(seconds - length / 10), Enter: () => { if (!video.source_gone) play(at(video, seconds), 0, null); } };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  if (!video.source_gone) {
    spriteOf(video.id, tiles).then((url) => preload(url)).then((url) => {
      if (!still()) return;
      shown = tile(url, tiles, video);
      big.replaceChildren(shown.node);
      strip.replaceChildren(...Array.from({ length: SHOWN }, (_, place) => {
        const each = tile(url, tiles, video);
        each.show(Math.floor(((place + 0.5) * tiles) / SHOWN));
        return each.node;
      }));
      show(seconds);
    }).catch(() => big.replaceChildren(make("div", { className: "picture none", textContent: t("video.no.pictures") })));
  }
  get(`/videos/${video.id}/activity`).then((found) => {
    if (!still()) return;
    chart.replaceChildren(drawing(length, {}, { seconds: found.seconds, scores: found.change }));
    if (found.seconds.length < 2) chart.replaceChildren(make("span", { className: "hint", textContent: t("video.no.rows") }));
  }, (error) => say("video-said", error.message, true));
  return make("div", { className: "over-time" }, big, make("div", { className: "lines" }, slider,
    make("div", { className: "times" }, now, make("span", { className: "hint", textContent: t("video.change") }), make("span", { textContent: lasting(length) }))));
}

function preload(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(url);
    image.onerror = () => reject(new Error(t("video.no.pictures")));
    image.src = url;
  });
}

function fileCard(video) {
  const others = video.names.slice(1);
  return card(t("video.file"), facts([[t("video.size"), video.width && t("video.size.is", { width: String(video.width), height: String(video.height) })], [t("video.lasts"), video.duration_seconds && lasting(video.duration_seconds)],
    [t("video.codec"), video.codec], [t("video.rate"), video.fps?.toFixed(2)], [t("video.frames"), video.num_frames],
    [t("video.bytes"), video.size_bytes && (video.size_bytes < 1e6 ? t("video.kilobytes", { number: Math.ceil(video.size_bytes / 1e3) }) : t("video.megabytes", { number: (video.size_bytes / 1e6).toFixed(1) }))], [t("video.recorded"), video.recorded_at && t("video.recorded.from", { time: day(video.recorded_at), source: t(`video.from.${video.recorded_from}`) })],
    [t("video.added"), day(video.ingested_at)], [t("video.also"), others.length > 8 ? t("video.also.more", { names: others.slice(0, 8).join(t("app.and")), count: others.length - 8 }) : others.join(t("app.and"))]]),
    video.error && video.duration_seconds ? make("p", { className: "said bad", textContent: video.error }) : null);
}

const ROWS = "SELECT strategy, count(*) AS num, avg(reuse_rate) AS reused, max(drift) AS drift, bool_and(exact) AS exact FROM frames WHERE video_id = $video GROUP BY strategy ORDER BY num DESC";

function rowsCard(video, still) {
  const report = video.report ?? {}, inner = make("div", {}, make("p", { className: "hint", textContent: "…" }));
  send("/sql", { sql: ROWS, params: { video: video.id } }).then(({ rows }) => {
    if (!still()) return;
    const listed = rows.map((row) => [row.strategy, [t("video.rows", { count: row.num }), row.reused > 0 && t("video.reused", { share: share(row.reused) }), row.drift > 0 && t("video.drift", { number: row.drift.toFixed(4) }), row.exact && t("video.exact")].filter(Boolean).join(t("app.and"))]);
    inner.replaceChildren(facts([...listed, [t("video.mean.drift"), typeof report.drift === "number" ? report.drift.toFixed(4) : null], [t("video.cost"), report.macs && report.macs_dense ? share(report.macs / report.macs_dense) : null]]));
    if (!rows.length) inner.replaceChildren(make("p", { className: "hint", textContent: t(video.status === "quarantined" ? "video.not.usable" : "video.not.embedded") }));
  }, (error) => inner.replaceChildren(make("p", { className: "said bad", textContent: error.message })));
  return card(t("video.embedded"), inner);
}

function saidCard(video) {
  const list = make("div", { className: "chips" });
  const told = make("p", { className: "said", role: "status" });
  const set = async (values) => {
    try { const [after] = await send("/columns", { videos: [video.id], values }); told.textContent = ""; draw(after.columns); }
    catch (error) { told.textContent = error.message; told.classList.add("bad"); }
  };
  const draw = (columns) => {
    const pairs = Object.entries(columns).filter(([, value]) => value !== null);
    list.replaceChildren(...pairs.map(([name, value]) => make("span", { className: "chip said-of-it" }, make("b", { textContent: name }), ` ${value} `,
      me.role === "write" ? button("✕", () => set({ [name]: null }), { className: "link", ariaLabel: t("video.said.take", { name }) }) : null)));
    if (!pairs.length) list.replaceChildren(make("span", { className: "hint", textContent: t("video.said.none") }));
  };
  draw(video.columns);
  const form = make("form", { className: "bar tight" }, make("input", { name: "column", placeholder: t("video.column.placeholder"), required: true, pattern: "[A-Za-z_][A-Za-z0-9_]*", title: t("video.column.title"), aria: { label: t("video.column") } }),
    make("input", { name: "value", placeholder: t("video.value.placeholder"), required: true, aria: { label: t("video.value") } }), make("button", { className: "quiet", textContent: t("video.say") }));
  form.addEventListener("submit", (event) => { event.preventDefault(); set({ [form.column.value]: form.value.value }).then(() => form.reset()); });
  return card(t("video.said"), list, me.role === "write" ? form : null, told);
}

function jobsCard(video, still) {
  const list = make("ul", { className: "plain-list" }, make("li", { className: "hint", textContent: "…" }));
  get("/jobs?limit=500").then((jobs) => {
    if (!still()) return;
    const mine = jobs.filter((job) => job.videos.some((each) => each.id === video.id)).slice(0, 10);
    list.replaceChildren(...mine.map((job) => make("li", {}, make("span", { className: `tag ${job.status}`, textContent: t(`state.${job.status}`) }), " ", t("video.job", { kind: job.kind, time: day(job.created_at) }),
      job.error ? make("p", { className: "said bad", textContent: job.error }) : null)));
    if (!mine.length) list.replaceChildren(make("li", { className: "hint", textContent: t("video.jobs.none") }));
  }, (error) => list.replaceChildren(make("li", { className: "said bad", textContent: error.message })));
  return card(t("video.jobs"), list);
}

const MOVES = "SELECT start_seconds, stop_seconds, ACTION(clip) AS action FROM clips WHERE video_id = $video ORDER BY start_seconds";

// classifying reads the video, so it waits for a click
function movesCard(video) {
  const inner = make("div", {});
  if (!video.duration_seconds || video.source_gone) return null;
  const look = button(t("video.actions.look"), async () => {
    look.disabled = true;
    inner.replaceChildren(make("p", { className: "hint", textContent: t("video.looking") }));
    try {
      const { rows, caution } = await send("/sql", { sql: MOVES, params: { video: video.id } });
      inner.replaceChildren(make("ul", { className: "moves" }, ...runs(rows).map((run) => {
        const play_ = make("button", { type: "button", className: "link", textContent: t("time.span", { start: clock(run.start, 0), stop: clock(run.stop, 0) }) });
        play_.addEventListener("click", () => play([{ ...at(video, run.start)[0], stop_seconds: run.stop }], 0, null));
        return make("li", {}, play_, make("span", { textContent: run.action ?? t("app.none") }));
      })), caution ? make("p", { className: "hint", textContent: caution }) : "");
    } catch (error) { inner.replaceChildren(make("p", { className: "said bad", textContent: error.message })); look.disabled = false; }
  });
  return card(t("video.actions"), look, inner);
}

// neighbours of one class are one line
function runs(rows) {
  const found = [];
  for (const row of rows) {
    const last = found.at(-1);
    if (last && last.action === row.action && row.start_seconds <= last.stop + 0.01) last.stop = row.stop_seconds;
    else found.push({ action: row.action, start: row.start_seconds, stop: row.stop_seconds });
  }
  return found;
}
