// Find: by a text, by a picture, or by what is like a frame; the filters are what the address says.

import { $, busy, call, forget, make, say, send } from "./api.js";
import { cost, show } from "./moments.js";
import { go, here } from "./route.js";
import { home, keepSearch } from "./home.js";
import { t } from "./words.js";

const DAY = /^\d{4}-\d\d-\d\d$/;
const GROUPS = ["moment", "video", "frame"], MOST = 1000; // results: as many as the server gives
const LARGEST = 512; // pixels of a picture that is sent
const form = $("find-form");
let shown = "", given = null; // what the results stand for; a picture that was dropped or pasted

form.addEventListener("submit", (event) => {
  event.preventDefault();
  given = null;
  go("find", stateOf({ q: form.text.value.trim() }));
});

const stateOf = (subject) => ({
  ...subject, video: form.video.value.trim(), group: form.group_by.value === "moment" ? "" : form.group_by.value,
  top: form.top_k.value === "12" ? "" : form.top_k.value, min: form.min_score.value,
  since: form.since.value, until: form.until.value, where: form.where.value.trim(),
});

function fill(state) {
  form.text.value = state.q ?? "";
  form.video.value = state.video ?? "";
  form.group_by.value = GROUPS.includes(state.group) ? state.group : "moment";
  if (state.top && ![...form.top_k.options].some((option) => option.value === state.top)) form.top_k.add(new Option(state.top));
  form.top_k.value = state.top || "12";
  form.min_score.value = state.min ?? "";
  for (const name of ["since", "until"]) form[name].value = DAY.test(state[name] ?? "") ? state[name] : "";
  form.where.value = state.where ?? "";
  if (state.video || state.min || state.group || state.top || state.since || state.until || state.where) $("filters").open = true;
}

const clear = () => { shown = ""; $("find-results").replaceChildren(); };

// show what the address says; what is shown already stays
export function openFind(state) {
  const { at, ...asked } = state;
  const wanted = JSON.stringify(asked);
  fill(state);
  if (!state.picture) given = null;
  const searching = Boolean(state.q || state.like || given);
  $("home").hidden = searching;
  if (!searching) {
    busy(form, "find-said", async () => {}); // what is still looked for is not shown
    clear();
    say("find-said", state.picture ? t("find.lost", { name: state.picture }) : "");
    $("subject").hidden = true;
    home();
    return;
  }
  if (wanted === shown && at) return;
  shown = wanted;
  busy(form, "find-said", (still) => look(state, still), clear);
}

// an address may be written by hand: what it cannot mean is said, and nothing else is looked for
function check(state) {
  const among = (from, to) => (text) => text.trim() !== "" && Number(text) >= from && Number(text) <= to;
  const rules = {
    group: [(text) => GROUPS.includes(text), GROUPS.join(t("app.and"))], top: [among(1, MOST), t("find.number", { from: 1, to: MOST })],
    min: [among(-1, 1), t("find.number", { from: -1, to: 1 })], since: [(text) => DAY.test(text), t("find.day")], until: [(text) => DAY.test(text), t("find.day")],
  };
  for (const [name, [holds, allowed]] of Object.entries(rules)) {
    if (state[name] && !holds(state[name])) throw new Error(t("find.refused", { name, given: state[name], allowed }));
  }
}

async function look(state, still) {
  check(state);
  say("find-said", t("find.looking"));
  const subject = await subjectOf(state);
  forget();
  const body = {
    ...subject, group_by: form.group_by.value, top_k: Number(form.top_k.value),
    ...(state.video && { videos: state.video.split(",").map((name) => name.trim()).filter(Boolean) }),
    ...(state.min && { min_score: Number(state.min) }),
    ...(conditionOf() && { where: conditionOf() }),
  };
  const result = await send("/query", body);
  if (!still()) return;
  const unclear = result.moments.length > 0 && result.moments.every((moment) => moment.clear === false);
  const told = [unclear && t("find.unclear"), cost(result), result.caution].filter(Boolean).join("; ");
  if (state.q) keepSearch(state.q);
  say("find-said", result.moments.length ? told
    : result.coverage.frames ? t("find.nothing", { cost: cost(result) })
      : state.video || body.where ? t("find.filtered") : t("find.empty"));
  show($("find-results"), result.moments, state.q || null);
}

// days are those of the clock here, the store's times are UTC; the last day is one of them
function conditionOf() {
  const instant = (day, days) => {
    const at = new Date(`${day}T00:00:00`);
    at.setDate(at.getDate() + days);
    return `TIMESTAMP '${at.toISOString().slice(0, 19).replace("T", " ")}'`;
  };
  return [form.since.value && `recorded_at >= ${instant(form.since.value, 0)}`, form.until.value && `recorded_at < ${instant(form.until.value, 1)}`,
    form.where.value.trim() && `(${form.where.value.trim()})`].filter(Boolean).join(" AND ");
}

async function subjectOf(state) {
  $("subject").hidden = Boolean(state.q);
  if (state.q) return { text: state.q };
  const picture = given?.blob ?? await (async () => {
    const [video, seconds] = state.like.split("@");
    return (await call(`/videos/${encodeURIComponent(video)}/frames/${Number(seconds).toFixed(3)}.jpg?width=${LARGEST}`)).blob();
  })();
  $("subject-picture").src = URL.createObjectURL(picture);
  $("subject-said").textContent = given ? t("find.like", { name: given.name }) : t("find.like.frame");
  return { image: await encoded(picture) };
}

// base64 of a picture made small enough for a request
async function encoded(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => { throw new Error(t("find.unreadable")); });
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9).split(",")[1];
}

function byPicture(file) {
  if (!file?.type.startsWith("image/")) return false;
  given = { blob: file, name: file.name || t("find.pasted") };
  go("find", stateOf({ picture: given.name }));
  return true;
}

$("picture").addEventListener("change", (event) => { byPicture(event.target.files[0]); event.target.value = ""; });
const panel = $("find-panel");
panel.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
panel.addEventListener("dragleave", () => form.classList.remove("over"));
panel.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  if (!byPicture(event.dataTransfer.files[0])) say("find-said", t("find.only"), true);
});
addEventListener("paste", (event) => { if (here().tab === "find" && byPicture(event.clipboardData.files[0])) event.preventDefault(); });
addEventListener("like", ({ detail }) => {
  given = null;
  go("find", { ...stateOf({}), like: `${detail.video}@${detail.seconds.toFixed(3)}` });
});
