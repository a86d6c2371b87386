// Jobs: what is sent and what is embedded, also after the page is loaded again.

import { $, authorized, button, call, get, make, me } from "./api.js";
import { here } from "./route.js";
import { openVideos } from "./videos.js";
import { t } from "./words.js";

const SHOWN = 30, RECENT_HOURS = 24;
const watched = new Set();

function row(name) {
  const bar = make("progress", { max: 1, aria: { label: name } });
  const said = make("span", { className: "hint", role: "status" });
  const tools = make("span", { className: "tools" });
  const node = make("div", { className: "job" }, make("strong", { textContent: name, title: name }), bar, said, tools);
  return { node, bar, said, tools };
}

function fail(parts, text) {
  parts.bar.hidden = true;
  parts.said.textContent = text;
  parts.said.classList.add("bad");
}

const left = ({ fraction }, since) => {
  const gone = (Date.now() - new Date(since)) / 1000;
  return since && fraction > 0.02 && fraction < 1 ? t("time.left", { number: Math.ceil((gone / fraction) * (1 - fraction)) }) : "";
};

function tell(parts, job) {
  const { fraction, frames_per_second: rate, stage } = job.progress;
  parts.bar.hidden = false;
  if (typeof fraction === "number") parts.bar.value = fraction; else parts.bar.removeAttribute("value");
  const doing = job.status === "running" && stage ? stage : t(`state.${job.status}`);
  parts.said.textContent = [doing, rate && t("job.rate", { number: rate.toFixed(0) }), job.status === "running" && left(job.progress, job.started_at)].filter(Boolean).join(t("app.and"));
  parts.tools.replaceChildren();
  const names = job.videos.map((video) => video.name).join(t("app.and"));
  const act = (key, work) => {
    if (me.role === "write") parts.tools.append(button(t(key), () => work().catch((error) => fail(parts, error.message)), { ariaLabel: t(`${key}.label`, { names }) }));
  };
  if (["queued", "running"].includes(job.status)) act("job.cancel", () => call(`/jobs/${job.id}`, { method: "DELETE" }));
  if (["failed", "cancelled"].includes(job.status)) {
    if (job.status === "failed") fail(parts, job.error ?? t("state.failed")); else parts.bar.hidden = true;
    act("job.retry", async () => { await call(`/jobs/${job.id}/retry`, { method: "POST" }); parts.node.remove(); await listJobs(); });
  }
  if (job.status === "ready") {
    parts.bar.value = 1;
    parts.said.classList.add("good");
  }
}

export async function listJobs() {
  const since = Date.now() - RECENT_HOURS * 3600e3;
  for (const job of (await get(`/jobs?limit=${SHOWN}`)).reverse()) {
    const live = ["queued", "running"].includes(job.status);
    if (watched.has(job.id) || job.status === "ready" || (!live && new Date(job.finished_at) < since)) continue;
    const parts = row(job.videos.map((video) => video.name).join(t("app.and")) || job.kind);
    $("job-list").prepend(parts.node);
    tell(parts, job);
    watched.add(job.id);
    if (live) watch(job.id, parts).catch((error) => fail(parts, error.message));
  }
}

async function watch(id, parts) {
  watched.add(id);
  const reader = (await call(`/jobs/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) tell(parts, JSON.parse(data.slice(6)));
    }
  }
  if (here().tab === "videos") openVideos(here().state);
}

async function upload(files) {
  for (const file of files) {
    const parts = row(file.name);
    $("job-list").prepend(parts.node);
    parts.said.textContent = t("job.sending");
    try {
      const job = await post(file, parts);
      parts.tools.replaceChildren();
      watch(job.id, parts).catch((error) => fail(parts, error.message));
    } catch (error) { parts.tools.replaceChildren(); fail(parts, error.message); }
  }
}

// fetch cannot tell how much is sent
function post(file, parts) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/videos");
    for (const [name, value] of Object.entries(authorized())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { if (event.lengthComputable) parts.bar.value = event.loaded / event.total; };
    request.onerror = () => reject(new Error(t("app.silent")));
    request.onabort = () => reject(new Error(t("job.not.sent")));
    request.onload = () => {
      if (request.status === 401) $("key-dialog").showModal();
      try {
        const body = JSON.parse(request.responseText);
        if (request.status === 202) resolve(body); else reject(new Error(body.detail));
      } catch { reject(new Error(t("job.answer", { status: String(request.status) }))); }
    };
    parts.tools.append(button(t("job.cancel"), () => request.abort(), { ariaLabel: t("job.cancel.label", { names: file.name }) }));
    request.send(form);
  });
}

$("upload").addEventListener("change", (event) => { upload([...event.target.files]); event.target.value = ""; });
const drop = $("upload-form");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  upload([...event.dataTransfer.files]);
});
