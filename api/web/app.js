// The page of dejavu-engine: plain modules, no build step. All of it goes through the public API.

const $ = (id) => document.getElementById(id);
const held = new Set(); // object URLs of the pictures shown

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function call(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401) $("key-dialog").showModal();
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Error(problem.caret ? `${problem.detail}\n${problem.caret}` : problem.detail);
}

const send = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
    .then((response) => response.json());

async function blobUrl(path) {
  const url = URL.createObjectURL(await (await call(path)).blob());
  held.add(url);
  return url;
}

function say(id, text, bad = false) {
  $(id).textContent = text;
  $(id).classList.toggle("bad", bad);
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

function card(moment, best) {
  const picture = make("img", { className: "picture", alt: `${moment.name} at ${clock(moment.peak_seconds)}` });
  blobUrl(moment.thumbnail_url).then((url) => { picture.src = url; }, () => {});
  const meter = make("i");
  meter.style.width = `${Math.max(0, Math.min(1, moment.score / best)) * 100}%`;
  const node = make("button", { className: "card", type: "button" }, picture,
    make("div", { className: "text" },
      make("span", { className: "name", textContent: moment.name, title: moment.name }),
      make("span", { className: "when" },
        make("span", { textContent: `${clock(moment.start_seconds)} – ${clock(moment.stop_seconds)}` }),
        make("span", { textContent: moment.score.toFixed(3) })),
      make("div", { className: "meter" }, meter)));
  node.addEventListener("click", () => play(moment));
  return node;
}

async function play(moment) {
  $("clip-said").textContent = `${moment.name}, ${clock(moment.start_seconds)} to ${clock(moment.stop_seconds)}`;
  $("clip").removeAttribute("src");
  $("player").showModal();
  try { $("clip").src = await blobUrl(moment.clip_url); }
  catch (error) { $("clip-said").textContent = error.message; }
}

function show(id, moments) {
  const best = Math.max(...moments.map((moment) => moment.score), 1e-9);
  $(id).replaceChildren(...moments.map((moment) => card(moment, best)));
}

function forget() {
  for (const url of held) URL.revokeObjectURL(url);
  held.clear();
}

function cost(result) {
  const seconds = Object.values(result.timing).reduce((sum, part) => sum + part, 0);
  const { videos, frames, refined, embedded } = result.coverage;
  const parts = [`${frames.toLocaleString()} frames of ${videos} videos in ${(seconds * 1000).toFixed(0)} ms`];
  if (embedded) parts.push(`${embedded} embedded for this query`);
  if (refined) parts.push(`${refined} made exact`);
  return parts.join(", ");
}

async function busy(form, id, work) {
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try { await work(); }
  catch (error) { say(id, error.message, true); }
  finally { buttons.forEach((button) => { button.disabled = false; }); }
}

$("find-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy(form, "find-said", async () => {
    say("find-said", "Looking…");
    forget();
    const result = await send("/query", {
      text: form.text.value, group_by: form.group_by.value, top_k: Number(form.top_k.value),
    });
    say("find-said", result.moments.length ? cost(result) : "Nothing here yet. Add a video first.");
    show("find-results", result.moments);
  });
});

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy(form, "ask-said", async () => {
    say("ask-said", "Thinking…");
    forget();
    const choices = form.choices.value.split(",").map((choice) => choice.trim()).filter(Boolean);
    const result = await send("/query", {
      text: form.text.value, mode: "grounded_qa", top_k: 8, ...(choices.length > 1 && { choices }),
    });
    const { answer } = result;
    say("ask-said", `${cost(result)}; chosen by ${answer.how}`);
    const ranked = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 8);
    $("ask-answer").replaceChildren(make("div", { className: "answer" },
      make("h2", { textContent: answer.text },
        make("small", { textContent: `${(answer.confidence * 100).toFixed(0)} %` })),
      ...ranked.map(([choice, share]) => {
        const meter = make("i");
        meter.style.width = `${share * 100}%`;
        return make("div", { className: "choice" }, make("span", { textContent: choice }),
          make("div", { className: "meter" }, meter),
          make("span", { textContent: `${(share * 100).toFixed(1)} %` }));
      })));
    $("ask-answer").querySelector("h2").firstChild.textContent = `${answer.text} `;
    show("ask-results", answer.evidence);
  });
});

function table(columns, rows, cell = (row, name) => row[name]) {
  const head = make("tr", {}, ...columns.map((name) => make("th", { textContent: name })));
  const body = rows.map((row) => make("tr", {}, ...columns.map((name) => {
    const value = cell(row, name);
    if (value instanceof Node) return make("td", {}, value);
    const number = typeof value === "number";
    const text = value === null || value === undefined ? "–"
      : number && !Number.isInteger(value) ? value.toFixed(4)
      : typeof value === "object" ? JSON.stringify(value) : String(value);
    return make("td", { textContent: text, className: number ? "number" : text.length > 60 ? "wide" : "" });
  })));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

function runSql(prefix = "") {
  const form = $("sql-form");
  busy(form, "sql-said", async () => {
    say("sql-said", "Running…");
    const result = await send("/sql", { sql: prefix + form.sql.value });
    const columns = result.columns.map((column) => column.name);
    say("sql-said", `${result.rows.length} rows in ${(result.timing.seconds * 1000).toFixed(0)} ms`);
    $("sql-results").replaceChildren(columns.length === 1 && columns[0] === "explain"
      ? make("pre", { textContent: result.rows.map((row) => row.explain).join("\n") })
      : table(columns, result.rows));
  });
}
$("sql-form").addEventListener("submit", (event) => { event.preventDefault(); runSql(); });
$("sql-explain").addEventListener("click", () => runSql("EXPLAIN ANALYZE "));
$("sql-form").sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); runSql(); }
});

async function listVideos() {
  const videos = [];
  let cursor = null;
  do {
    const page = await (await call(`/videos?limit=200${cursor ? `&cursor=${cursor}` : ""}`)).json();
    videos.push(...page.videos);
    cursor = page.next_cursor;
  } while (cursor);
  const columns = ["video", "length", "size", "codec", "status", "strategy", "reused", "drift", ""];
  $("video-list").replaceChildren(videos.length ? table(columns, videos, videoCell)
    : make("p", { className: "said", textContent: "No videos yet." }));
}

function videoCell(video, column) {
  const report = video.report ?? {};
  const share = (value) => (typeof value === "number" ? `${(value * 100).toFixed(1)} %` : null);
  switch (column) {
    case "video": return video.name;
    case "length": return video.duration_seconds === null ? null : clock(video.duration_seconds);
    case "size": return video.width ? `${video.width} × ${video.height}` : null;
    case "codec": return video.codec;
    case "status": return make("span", { className: `tag ${video.status}`, textContent: video.status, title: video.error ?? "" });
    case "strategy": return report.strategy;
    case "reused": return share(report.reuse_rate);
    case "drift": return typeof report.drift === "number" ? report.drift.toFixed(4) : null;
    default: {
      const remove = make("button", { className: "quiet", type: "button", textContent: "Remove" });
      remove.addEventListener("click", async () => {
        if (!confirm(`Remove ${video.name} from the store? The file itself stays.`)) return;
        await call(`/videos/${video.id}`, { method: "DELETE" });
        listVideos();
      });
      return remove;
    }
  }
}

async function upload(file) {
  const form = new FormData();
  form.append("file", file);
  $("upload-progress").hidden = false;
  $("upload-progress").removeAttribute("value");
  try { watch(await (await call("/videos", { method: "POST", body: form })).json(), file.name); }
  catch (error) { alert(error.message); }
  finally { $("upload-progress").hidden = true; }
}

async function watch(job, name) {
  const bar = make("progress", { max: 1 });
  const said = make("span", { className: "hint", textContent: "queued" });
  $("job-list").prepend(make("div", { className: "job" }, make("strong", { textContent: name }), bar, said));
  const reader = (await call(`${job.job_url}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      const state = JSON.parse(data.slice(6));
      const { fraction, frames_per_second: rate } = state.progress;
      if (typeof fraction === "number") bar.value = fraction;
      said.textContent = state.error ?? (rate ? `${state.status}, ${rate.toFixed(0)} frames/s` : state.status);
      if (state.status === "ready") bar.value = 1;
    }
  }
  listVideos();
}

$("upload").addEventListener("change", (event) => { if (event.target.files[0]) upload(event.target.files[0]); });
const drop = $("upload-form");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  for (const file of event.dataTransfer.files) upload(file);
});

function open(tab) {
  for (const button of document.querySelectorAll("[data-tab]")) {
    const chosen = button.dataset.tab === tab;
    button.setAttribute("aria-selected", String(chosen));
    $(button.dataset.tab).hidden = !chosen;
  }
  if (tab === "videos") listVideos().catch((error) => alert(error.message));
}
for (const button of document.querySelectorAll("[data-tab]")) {
  button.addEventListener("click", () => { location.hash = button.dataset.tab; });
}
addEventListener("hashchange", () => open(location.hash.slice(1).split("?")[0] || "find"));

$("key").addEventListener("click", () => $("key-dialog").showModal());
$("key-form").addEventListener("submit", (event) => {
  sessionStorage.setItem("key", event.target.key.value);
  event.target.reset();
});
$("player").addEventListener("close", () => $("clip").removeAttribute("src"));

async function refresh() {
  const node = $("status");
  try {
    const ready = await (await fetch("/readyz")).json();
    node.textContent = ready.model ? `${ready.model} on ${ready.device}` : ready.detail;
    node.className = `status ${ready.model ? "ready" : "away"}`;
  } catch {
    node.textContent = "the server does not answer";
    node.className = "status away";
  }
}

// #find?q=text opens with a search, so that a result can be sent as a link
const [start, asked] = location.hash.slice(1).split("?");
open(["find", "ask", "sql", "videos"].includes(start) ? start : "find");
const text = new URLSearchParams(asked).get("q");
if (text) {
  $(`${start}-form`)?.text && ($(`${start}-form`).text.value = text);
  $(`${start}-form`)?.requestSubmit();
}
refresh();
setInterval(refresh, 15000);
