// SQL: rows, their plan, their download, and a way to play what a row names.

import { $, busy, button, clock, get, make, rowsOf, save, say, send } from "./api.js";
import { planTree } from "./plan.js";
import { go, here } from "./route.js";
import { play } from "./player.js";
import { keepStatement, saveStatement, showSaved } from "./saved.js";
import { table } from "./table.js";
import { t } from "./words.js";

const FORMS = { csv: "text/csv", parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream" };
const form = $("sql-form");
let shown = "";

const clear = () => { shown = ""; $("sql-results").replaceChildren(); $("sql-save").hidden = true; };

form.addEventListener("submit", (event) => { event.preventDefault(); go("sql", { q: form.sql.value }); });
$("sql-explain").addEventListener("click", () => go("sql", { q: form.sql.value, explain: "1" }));
form.sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
});
for (const each of $("sql-save").querySelectorAll("button")) {
  each.addEventListener("click", () => busy(form, "sql-said", async () => {
    const suffix = each.dataset.form;
    await save(await send("/sql", { sql: here().state.q ?? form.sql.value }, FORMS[suffix]), `rows.${suffix}`);
  }));
}

const choose = (sql) => { form.sql.value = sql; form.sql.focus(); };
$("keep-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = event.target.name.value.trim();
  if (!name || !form.sql.value.trim()) return;
  saveStatement(name, form.sql.value);
  event.target.reset();
  showSaved(choose);
});
$("sql-kept").addEventListener("toggle", () => showSaved(choose));
$("sql-schema").addEventListener("toggle", () => { if ($("sql-schema").open) schema().catch((error) => say("sql-said", error.message, true)); });

// relations with their columns; a click puts a name where the cursor stands
async function schema() {
  const called = { moments: "moments('a text')", nearest: "nearest(3)" };
  const { rows } = await send("/sql", { sql: "SHOW TABLES" });
  const listed = [];
  for (const { name } of rows) { // one at a time: they must not take all places of the server
    const columns = (await send("/sql", { sql: called[name] ? `DESCRIBE ${name}` : `DESCRIBE "${name.replaceAll('"', '""')}"` })).rows;
    listed.push(make("div", {}, nameChip(called[name] ?? name, "relation"),
      ...columns.map((column) => nameChip(column.column_name, String(column.column_type).toLowerCase()))));
  }
  $("schema-list").replaceChildren(...listed);
}

function nameChip(name, kind) {
  const text = /^[a-z_]\w*(\(.*\))?$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
  return button(name, () => { form.sql.setRangeText(text, form.sql.selectionStart, form.sql.selectionEnd, "end"); form.sql.focus(); },
    { className: kind === "relation" ? "chip relation" : "chip", title: kind });
}

export function openSql({ at, ...state }) {
  if (!state.q) return;
  form.sql.value = state.q;
  const wanted = JSON.stringify(state);
  if (wanted === shown && at) return;
  shown = wanted;
  busy(form, "sql-said", (still) => (state.explain ? explain(state.q, still) : run(state.q, still)), clear);
}

async function explain(sql, still) {
  say("sql-said", t("sql.running"));
  $("sql-save").hidden = true;
  const plan = await send("/explain", { sql, analyze: true });
  if (!still()) return;
  say("sql-said", "");
  $("sql-results").replaceChildren(planTree(plan));
}

async function run(sql, still) {
  say("sql-said", t("sql.running"));
  const result = await rowsOf(sql, (count, of) => { if (still() && of > 5000) say("sql-said", t("sql.coming", { count, all: of })); });
  if (!still()) return;
  const columns = result.columns.map((column) => column.name);
  const plan = columns.length === 1 && columns[0] === "explain";
  const told = [t("sql.rows", { count: result.rows.length, time: t("time.milliseconds", { number: (result.timing.seconds * 1000).toFixed(0) }) }), result.caution];
  say("sql-said", plan ? "" : told.filter(Boolean).join("; "));
  $("sql-save").hidden = plan || !result.rows.length;
  keepStatement(sql);
  $("sql-results").replaceChildren(plan
    ? make("pre", { textContent: result.rows.map((row) => row.explain).join("\n"), tabIndex: 0 })
    : table(columns, result.rows, playerFor(columns)));
}

// a row with a video and a time in it can be played
function playerFor(columns) {
  const time = ["seconds", "peak_seconds", "start_seconds"].find((name) => columns.includes(name));
  if (!columns.includes("video_id") || !time) return null;
  return (row) => (row.video_id === null || row[time] === null ? null : button("▶", () => watch(row, time),
    { className: "link", ariaLabel: t("sql.play", { video: row.video_id, time: clock(row[time]) }) }));
}

async function watch(row, time) {
  try {
    const name = row.name ?? (await get(`/videos/${row.video_id}`)).name;
    const start = row.start_seconds ?? row[time];
    play([{ video_id: row.video_id, name, start_seconds: start, stop_seconds: row.stop_seconds ?? start, peak_seconds: row[time] }], 0, null);
  } catch (error) { say("sql-said", error.message, true); }
}
