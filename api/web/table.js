// A table of any number of rows: only those that are seen are drawn.

import { make } from "./api.js";
import { t } from "./words.js";

const ROW = 37; // pixels, as the style has it
const SPARE = 20; // rows drawn above and below
const SAMPLE = 1000; // rows that say how a column is shown

const decimals = (value) => (typeof value === "number" ? String(+value.toFixed(4)).split(".")[1]?.length ?? 0 : 0);

function shapeOf(name, rows) {
  let places = 0, numbers = rows.length > 0, widest = name.length;
  for (const row of rows.slice(0, SAMPLE)) {
    const value = row[name];
    places = Math.max(places, decimals(value));
    if (value !== null && typeof value !== "number") numbers = false;
  }
  const shape = { name, places, numbers };
  for (const row of rows.slice(0, SAMPLE)) widest = Math.max(widest, textOf(row[name], shape).length);
  return { ...shape, width: Math.min(widest, 60) };
}

function textOf(value, { places }) {
  if (value === null || value === undefined) return t("app.none");
  if (typeof value === "number") return value && Math.abs(value) < 0.5 * 10 ** -places ? value.toPrecision(2) : value.toFixed(places);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// `first(row)` may return a node for a column before the others
export function table(columns, rows, first = null) {
  const shapes = columns.map((name) => shapeOf(name, rows));
  const head = make("tr", {}, first && make("th", {}, make("span", { className: "hidden", textContent: t("sql.play.column") })),
    ...shapes.map((shape) => {
      const cell = make("th", { textContent: shape.name, className: shape.numbers ? "number" : "", scope: "col" });
      cell.style.minWidth = `${shape.width}ch`; // else columns would move while it is scrolled
      return cell;
    }));
  const body = make("tbody");
  const all = make("table", { aria: { rowcount: rows.length + 1 } }, make("thead", {}, head), body);
  const frame = make("div", { className: "rows", tabIndex: 0, role: "region", aria: { label: t("sql.rows.label") } }, all);
  const gap = (count) => {
    const cell = make("td", { colSpan: columns.length + (first ? 1 : 0) });
    cell.style.height = `${count * ROW}px`;
    return make("tr", { className: "gap", aria: { hidden: "true" } }, cell);
  };
  const line = (row, at) => make("tr", { aria: { rowindex: at + 2 } }, first && make("td", {}, first(row) ?? ""),
    ...shapes.map((shape) => {
      const text = textOf(row[shape.name], shape);
      return make("td", { textContent: text, title: text.length > 60 ? text : "", className: shape.numbers ? "number" : "" });
    }));
  let drawn = "";
  const draw = () => {
    const from = Math.max(0, Math.floor(frame.scrollTop / ROW) - SPARE);
    const to = Math.min(rows.length, from + Math.ceil((frame.clientHeight || 700) / ROW) + 2 * SPARE);
    if (drawn === `${from} ${to}`) return;
    drawn = `${from} ${to}`;
    body.replaceChildren(gap(from), ...rows.slice(from, to).map((row, at) => line(row, from + at)), gap(rows.length - to));
  };
  frame.addEventListener("scroll", () => requestAnimationFrame(draw));
  draw();
  return frame;
}
