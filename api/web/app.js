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

// the browser itself loads, seeks and keeps what needs no key; a key goes into a header, so then we load
async function sourceOf(path) {
  if (!sessionStorage.getItem("key")) return path;
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
  const picture = make("img", { className: "picture", loading: "lazy", alt: `${moment.name} at ${clock(moment.peak_seconds)}` });
  sourceOf(moment.thumbnail_url).then((url) => { picture.src = url; }, () => {});
  const meter = make("i");
  meter.style.width = `${Math.max(0, Math.min(1, moment.score / best)) * 100}%`;
  const node = make("button", { className: "card", type: "button" }, picture,
    make("div", { className: "text" },
      make("span", { className: "name", textContent: moment.name, title: moment.name }),
      make("span", { className: "when" },
        make("span", { textContent: `${clock(moment.start_seconds)} – ${clock(moment.stop_seconds)}` }),
        make("span", { textContent: moment.clear === false ? `${moment.score.toFixed(3)} · not clear` : moment.score.toFixed(3) })),
      make("div", { className: "meter" }, meter)));
  node.addEventListener("click", () => play(moment));
  return node;
}

async function play(moment) {
  const told = `${moment.name}, ${clock(moment.start_seconds)} to ${clock(moment.stop_seconds)}`;
  $("clip-said").textContent = `${told}: being cut…`;
  $("clip").onloadeddata = () => { $("clip-said").textContent = told; };
  $("clip").removeAttribute("src");
  $("player").showModal();
  try { $("clip").src = await sourceOf(moment.clip_url); }
  catch (error) { $("clip-said").textContent = error.message; }
}
$("clip").addEventListener("error", async () => {
  const path = $("clip").getAttribute("src");
  if (!path?.startsWith("/")) return;
  try { await call(path); } catch (error) { $("clip-said").textContent = error.message; } // why it cannot be played
});

function show(id, moments) {
  const best = Math.max(...moments.map((moment) => moment.score), 1e-9);
  $(id).replaceChildren(...moments.map((moment) => card(moment, best)));
}

function forget() {
  for (const url of held) URL.revokeObjectURL(url);
  held.clear();
}

// the address becomes a link to what is shown
function remember(tab, text) {
  history.replaceState(null, "", `#${tab}?${new URLSearchParams({ q: text })}`);
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
    remember("find", form.text.value);
    forget();
    const result = await send("/query", {
      text: form.text.value, group_by: form.group_by.value, top_k: Number(form.top_k.value),
    });
    const unclear = result.moments.length > 0 && result.moments.every((moment) => moment.clear === false);
    const told = [unclear && "No clear match: unrelated texts score as high", cost(result), result.caution].filter(Boolean).join("; ");
    say("find-said", result.moments.length ? told : "Nothing here yet. Add a video first, under Videos.");
    show("find-results", result.moments);
  });
});

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  busy(form, "ask-said", async () => {
    say("ask-said", "Thinking…");
    remember("ask", form.text.value);
    forget();
    const choices = form.choices.value.split(",").map((choice) => choice.trim()).filter(Boolean);
    const result = await send("/query", {
      text: form.text.value, mode: "grounded_qa", top_k: 8, ...(choices.length > 1 && { choices }),
    });
    const { answer } = result;
    say("ask-said", [cost(result), answer.how, answer.caution].filter(Boolean).join("; "));
    const ranked = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 8);
    $("ask-answer").replaceChildren(make("div", { className: "answer" },
      make("h2", { textContent: answer.caution ? `Its guess: ${answer.text}` : answer.text },
        make("small", { textContent: `${(answer.confidence * 100).toFixed(0)} %` })),
      ...ranked.map(([choice, share]) => {
        const meter = make("i");
        meter.style.width = `${share * 100}%`;
        return make("div", { className: "choice" }, make("span", { textContent: choice }),
          make("div", { className: "meter" }, meter),
          make("span", { textContent: `${(share * 100).toFixed(1)} %` }));
      })));
    $("ask-answer").querySelector("h2").firstChild.textContent = `${answer.caution ? "Its guess: " : ""}${answer.text} `;
    show("ask-results", answer.evidence);
  });
});

const decimals = (value) => (typeof value === "number" ? String(+value.toFixed(4)).split(".")[1]?.length ?? 0 : 0);

function table(columns, rows, cell = (row, name) => row[name]) {
  const cells = rows.map((row) => columns.map((name) => cell(row, name)));
  const places = columns.map((_, at) => Math.max(0, ...cells.slice(0, 1000).map((row) => decimals(row[at]))));
  const numbers = columns.map((_, at) => cells.length > 0 && cells.every((row) => row[at] === null || typeof row[at] === "number"));
  const head = make("tr", {}, ...columns.map((name, at) => make("th", { textContent: name, className: numbers[at] ? "number" : "" })));
  const body = cells.map((row) => make("tr", {}, ...row.map((value, at) => {
    if (value instanceof Node) return make("td", {}, value);
    const text = value === null || value === undefined ? "–"
      : typeof value === "number" ? value.toFixed(places[at])
      : typeof value === "object" ? JSON.stringify(value) : String(value);
    return make("td", { textContent: text, className: numbers[at] ? "number" : text.length > 60 ? "wide" : "" });
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

let role = "read"; // what the key allows; the page offers no more

async function listVideos() {
  role = (await (await call("/me")).json()).role;
  $("upload-form").hidden = role !== "write";
  await listPage(null, []);
}

// a page at a time: a store may hold a hundred thousand
async function listPage(cursor, before) {
  const page = await (await call(`/videos?limit=200${cursor ? `&cursor=${cursor}` : ""}`)).json();
  const videos = [...before, ...page.videos];
  const columns = ["video", "length", "status", "size", "codec", "strategy", "reused", "drift", ""];
  $("video-list").replaceChildren(videos.length ? table(columns, videos, videoCell)
    : make("p", { className: "said", textContent: "No videos yet." }));
  if (page.next_cursor) {
    const more = make("button", { className: "quiet", type: "button", textContent: "More" });
    more.addEventListener("click", () => listPage(page.next_cursor, videos).catch((error) => say("videos-said", error.message, true)));
    $("video-list").append(more);
  }
}

// what was asked for before the page was loaded, or elsewhere
async function listJobs() {
  for (const status of ["running", "queued"]) {
    for (const job of await (await call(`/jobs?status=${status}&limit=20`)).json()) {
      if ($(`job-${job.id}`)) continue;
      const bar = make("progress", { max: 1 });
      const said = make("span", { className: "hint", textContent: job.status });
      const named = job.videos.map((video) => video.name).join(", ");
      $("job-list").append(make("div", { className: "job", id: `job-${job.id}` }, make("strong", { textContent: named }), bar, said));
      watch({ job_url: `/jobs/${job.id}` }, bar, said).catch((error) => { said.textContent = error.message; });
    }
  }
}

function videoCell(video, column) {
  const report = video.report ?? {};
  const share = (value) => (typeof value === "number" ? `${(value * 100).toFixed(1)} %` : null);
  switch (column) {
    case "video": return video.status === "quarantined" ? video.name : watchable(video);
    case "length": return video.duration_seconds === null ? null : clock(video.duration_seconds);
    case "size": return video.width ? `${video.width} × ${video.height}` : null;
    case "codec": return video.codec;
    case "status": return state(video);
    case "strategy": return report.strategy;
    case "reused": return share(report.reuse_rate);
    case "drift": return typeof report.drift === "number" ? report.drift.toFixed(4) : null;
    default: {
      if (role !== "write") return "";
      const remove = make("button", { className: "quiet", type: "button", textContent: "Remove" });
      remove.addEventListener("click", () => {
        if (!confirm(`Remove ${video.name} from the store? The file itself stays.`)) return;
        call(`/videos/${video.id}`, { method: "DELETE" }).then(listVideos).catch((error) => say("videos-said", error.message, true));
      });
      return remove;
    }
  }
}

function watchable(video) {
  const stop = Math.min(video.duration_seconds, 60);
  const node = make("button", { className: "link", type: "button", textContent: video.name, title: `Play the first ${stop.toFixed(0)} seconds` });
  node.addEventListener("click", () => play({ name: video.name, start_seconds: 0, stop_seconds: stop, clip_url: `/videos/${video.id}/clip.mp4?start=0&stop=${stop}` }));
  return node;
}

function state(video) {
  const tag = make("span", { className: `tag ${video.status}`, textContent: video.status });
  return video.error ? make("div", { className: "wide" }, tag, make("span", { className: "hint", textContent: ` ${video.error}` })) : tag;
}

async function upload(files) {
  for (const file of files) {
    const bar = make("progress", { max: 1, value: 0 });
    const said = make("span", { className: "hint", textContent: "sending" });
    const row = make("div", { className: "job" }, make("strong", { textContent: file.name }), bar, said);
    $("job-list").prepend(row);
    try {
      const job = await post(file, bar);
      row.id = `job-${job.id}`;
      watch(job, bar, said).catch((error) => { said.textContent = error.message; });
    } catch (error) { bar.remove(); said.textContent = error.message; }
  }
}

// fetch cannot tell how much is sent
function post(file, bar) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/videos");
    const key = sessionStorage.getItem("key");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; };
    request.onerror = () => reject(new Error("the server does not answer"));
    request.onload = () => {
      if (request.status === 401) $("key-dialog").showModal();
      const body = JSON.parse(request.responseText);
      if (request.status === 202) resolve(body); else reject(new Error(body.detail));
    };
    request.send(form);
  });
}

async function watch(job, bar, said) {
  bar.removeAttribute("value");
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
      if (state.status === "failed") bar.remove();
    }
  }
  listVideos();
}

$("upload").addEventListener("change", (event) => upload([...event.target.files]));
const drop = $("upload-form");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  upload([...event.dataTransfer.files]);
});

function open(tab) {
  for (const button of document.querySelectorAll("[data-tab]")) {
    const chosen = button.dataset.tab === tab;
    button.setAttribute("aria-selected", String(chosen));
    $(button.dataset.tab).hidden = !chosen;
  }
  if (tab === "videos") listVideos().then(listJobs).catch((error) => say("videos-said", error.message, true));
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
