// A video's scores over its time, drawn: the curve, the span of the moment and its peak.

import { get } from "./api.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDE = 1000, HIGH = 100;
const known = new Map(); // the last curves, by video and text
let turn = Promise.resolve(); // one at a time: a page of results must not take all places of the server

export function curveOf(video, text) {
  const name = `${video} ${text}`;
  if (!known.has(name)) {
    const found = turn.then(() => get(`/videos/${video}/curve?${new URLSearchParams({ text })}`));
    turn = found.catch(() => known.delete(name));
    known.set(name, found);
    if (known.size > 200) known.delete(known.keys().next().value);
  }
  return known.get(name);
}

function shape(tag, properties) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  return node;
}

// `curve` may be null where there is none, as for a picture
export function drawing(duration, moment, curve) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", class: "curve", "aria-hidden": "true" });
  const at = (seconds) => (WIDE * Math.min(Math.max(seconds, 0), duration)) / duration;
  if (moment.stop_seconds > moment.start_seconds) {
    const left = at(moment.start_seconds);
    svg.append(shape("rect", { class: "span", x: left, width: Math.max(at(moment.stop_seconds) - left, 3), y: 0, height: HIGH }));
  }
  if (curve?.scores.length > 1) {
    const low = Math.min(...curve.scores), high = Math.max(...curve.scores);
    const points = curve.seconds.map((seconds, place) => {
      const share = (curve.scores[place] - low) / (high - low || 1);
      return `${at(seconds).toFixed(1)},${(HIGH - 4 - share * (HIGH - 12)).toFixed(1)}`;
    });
    const first = at(curve.seconds[0]).toFixed(1), last = at(curve.seconds.at(-1)).toFixed(1);
    svg.append(shape("path", { class: "area", d: `M${first},${HIGH} L${points.join(" L")} L${last},${HIGH} Z` }));
    svg.append(shape("path", { class: "line", d: `M${points.join(" L")}` }));
  }
  if (typeof moment.peak_seconds === "number") {
    const peak = at(moment.peak_seconds);
    svg.append(shape("line", { class: "peak", x1: peak, x2: peak, y1: 0, y2: HIGH }));
  }
  return svg;
}

// a normal distribution, with what lies beyond its `clear` filled
export function bell({ middle, width, clear }) {
  const reach = 4 * width, at = (value) => (WIDE * (value - middle + reach)) / (2 * reach);
  const points = Array.from({ length: 121 }, (_, place) => {
    const off = (place / 60 - 1) * 4;
    return [at(middle + off * width), HIGH - 2 - (HIGH - 8) * Math.exp(-off * off / 2)];
  });
  const drawn = (kept) => kept.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" L");
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", class: "curve bell", "aria-hidden": "true" });
  const beyond = points.filter(([x]) => x >= at(clear));
  svg.append(shape("path", { class: "span", d: `M${at(clear)},${HIGH} L${drawn(beyond)} L${WIDE},${HIGH} Z` }), shape("path", { class: "line", d: `M${drawn(points)}` }),
    shape("line", { class: "peak", x1: at(clear), x2: at(clear), y1: 0, y2: HIGH }));
  return svg;
}
