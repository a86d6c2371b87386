// SQL: rows, their plan, their download, and a way to play what a row names.

import { $, busy, button, clock, get, make, save, say, send } from "./api.js";
import { go, here } from "./route.js";
import { play } from "./player.js";
import { table } from "./table.js";

const form = $("sql-form");
let shown = "";

const clear = () => { shown = ""; $("sql-results").replaceChildren(); $("sql-save").hidden = true; };

form.addEventListener("submit", (event) => { event.preventDefault(); go("sql", { q: form.sql.value }); });
$("sql-explain").addEventListener("click", () => go("sql", { q: form.sql.value, explain: "1" }));
form.sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
});
$("sql-save").addEventListener("click", () => busy(form, "sql-said", async () => {
  await save(await send("/sql", { sql: here().state.q ?? form.sql.value }, "text/csv"), "rows.csv");
}));

export function openSql({ at, ...state }) {
  if (!state.q) return;
  form.sql.value = state.q;
  const wanted = JSON.stringify(state);
  if (wanted === shown && at) return;
  shown = wanted;
  busy(form, "sql-said", () => run(state), clear);
}

async function run(state) {
  say("sql-said", "Running…");
  const result = await send("/sql", { sql: (state.explain ? "EXPLAIN ANALYZE " : "") + state.q });
  const columns = result.columns.map((column) => column.name);
  const plan = columns.length === 1 && columns[0] === "explain";
  const told = [`${result.rows.length.toLocaleString()} rows in ${(result.timing.seconds * 1000).toFixed(0)} ms`, result.caution];
  say("sql-said", plan ? "" : told.filter(Boolean).join("; "));
  $("sql-save").hidden = plan || !result.rows.length;
  $("sql-results").replaceChildren(plan
    ? make("pre", { textContent: result.rows.map((row) => row.explain).join("\n"), tabIndex: 0 })
    : table(columns, result.rows, playerFor(columns)));
}

// a row with a video and a time in it can be played
function playerFor(columns) {
  const time = ["seconds", "peak_seconds", "start_seconds"].find((name) => columns.includes(name));
  if (!columns.includes("video_id") || !time) return null;
  return (row) => (row.video_id === null || row[time] === null ? null : button("▶", () => watch(row, time),
    { className: "link", ariaLabel: `Play video ${row.video_id} at ${clock(row[time])}` }));
}

async function watch(row, time) {
  try {
    const name = row.name ?? (await get(`/videos/${row.video_id}`)).name;
    const start = row.start_seconds ?? row[time];
    play([{ video_id: row.video_id, name, start_seconds: start, stop_seconds: row.stop_seconds ?? start, peak_seconds: row[time] }], 0, null);
  } catch (error) { say("sql-said", error.message, true); }
}
