// What stands where: the boxes that a detector found in a video's frames, drawn over its pictures.

import { make, send } from "./api.js";
import { t } from "./words.js";

const BOXES = "SELECT seconds, label, score, x0, y0, x1, y1 FROM detections WHERE video_id = $video AND score >= $least ORDER BY seconds, score DESC";
const STORED = { budget_seconds: 0.000001 }; // what is stored is read, nothing more is looked at
const LEAST = 0.3; // the score of a box that is drawn
const LONGEST = 1.5; // seconds for which a frame's boxes stand, where the next frame is far
const known = new Map(); // by video, boxes of its frames in the order of time

const asked = (video, options = {}) => ({ sql: BOXES, params: { video, least: LEAST }, options });

async function read(video, options) {
  const { rows, caution } = await send("/sql", asked(video, options));
  const frames = [];
  for (const { seconds, ...box } of rows) {
    if (frames.at(-1)?.seconds !== seconds) frames.push({ seconds, boxes: [] });
    frames.at(-1).boxes.push(box);
  }
  return { frames, caution };
}

function kept(video, found) {
  known.set(video, found);
  found.catch(() => known.delete(video));
  return found;
}

export const storedBoxes = (video) => known.get(video) ?? kept(video, read(video, STORED));
export const lookedFor = (video) => kept(video, read(video, {}));

// what looking at the rest of a video would take; null where all of it was looked at
export async function costOf(video) {
  const { plan } = await send("/explain", asked(video));
  const all = (node) => [node, ...node.children.flatMap(all)];
  const { note, seconds } = all(plan).find((node) => node.operator === "Detect").estimated;
  const [, frames] = note.match(/(\d+) frames to look at/) ?? [];
  return frames ? { frames: Number(frames), seconds } : null;
}

// what stands in a frame at a time: of the last frame before it
export function boxesAt(frames, seconds) {
  const next = frames.findIndex((frame) => frame.seconds > seconds + 0.02);
  const frame = frames.at(next < 0 ? -1 : next - 1);
  return next === 0 || !frame || seconds - frame.seconds > LONGEST ? [] : frame.boxes;
}

export function draw(node, boxes) {
  node.replaceChildren(...boxes.map(({ label, score, x0, y0, x1, y1 }) => {
    const box = make("div", { className: y0 > 0.1 ? "box" : "box low" }, make("span", { textContent: t("boxes.is", { label, score: score.toFixed(2) }) }));
    for (const [side, value] of [["left", x0], ["top", y0], ["width", x1 - x0], ["height", y1 - y0]]) box.style[side] = `${100 * value}%`;
    return box;
  }));
}

// lay a layer over what a video of some width and height fills of its element
export function fit(layer, element, width, height) {
  const scale = Math.min(element.clientWidth / width, element.clientHeight / height);
  const wide = width * scale, high = height * scale;
  for (const [side, value] of [["left", element.offsetLeft + (element.clientWidth - wide) / 2], ["top", element.offsetTop + (element.clientHeight - high) / 2], ["width", wide], ["height", high]]) layer.style[side] = `${value}px`;
}

// by label: how often it was seen, and where it is surest
export function labelsOf(frames) {
  const found = new Map();
  for (const { seconds, boxes } of frames) {
    for (const { label, score } of boxes) {
      const one = found.get(label) ?? { label, frames: new Set(), score: 0 };
      one.frames.add(seconds);
      if (score > one.score) Object.assign(one, { score, seconds });
      found.set(label, one);
    }
  }
  return [...found.values()].sort((a, b) => b.frames.size - a.frames.size || b.score - a.score);
}
