// Moments as cards: a picture of the peak, when, how well it fits, and where in its video it lies.

import { clock, get, make, sourceOf, whenSeen } from "./api.js";
import { curveOf, drawing } from "./curve.js";
import { nameOf, play } from "./player.js";
import { here } from "./route.js";

export function picture(path, alt) {
  const image = make("img", { className: "picture", loading: "lazy", alt });
  image.addEventListener("error", () => image.replaceWith(make("div", { className: "picture none", textContent: "no picture" })));
  whenSeen(image, () => sourceOf(path).then((url) => { image.src = url; }, () => image.dispatchEvent(new Event("error"))));
  return image;
}

const lengths = new Map(); // of videos, by id: many moments lie in few videos

function lengthOf(video) {
  if (!lengths.has(video)) {
    lengths.set(video, get(`/videos/${video}`).then((facts) => facts.duration_seconds));
    lengths.get(video).catch(() => lengths.delete(video));
  }
  return lengths.get(video);
}

function card(moments, at, text) {
  const moment = moments[at];
  const strip = make("div", { className: "strip" });
  const score = moment.score.toFixed(3);
  const node = make("button", { className: "card", type: "button" },
    picture(moment.thumbnail_url, `${moment.name} at ${clock(moment.peak_seconds)}`),
    make("div", { className: "text" },
      make("span", { className: "name", textContent: moment.name, title: moment.name }),
      make("span", { className: "when" },
        make("span", { textContent: `${clock(moment.start_seconds)} – ${clock(moment.stop_seconds)}` }),
        make("span", { textContent: moment.clear === false ? `${score} · unclear` : score, title: "cosine of the best frame" })),
      strip));
  whenSeen(node, async () => {
    try {
      const length = await lengthOf(moment.video_id);
      if (!length) return;
      strip.replaceChildren(drawing(length, moment, null));
      if (text && node.isConnected) strip.replaceChildren(drawing(length, moment, await curveOf(moment.video_id, text)));
    } catch { strip.classList.add("none"); } // the moment stands without it
  });
  node.addEventListener("click", () => play(moments, at, text));
  return node;
}

export function show(node, moments, text) {
  node.replaceChildren(...moments.map((_, at) => card(moments, at, text)));
  const wanted = here().state.at;
  const at = moments.findIndex((moment) => nameOf(moment) === wanted);
  if (wanted && at >= 0) play(moments, at, text);
}

export function cost(result) {
  const seconds = Object.values(result.timing).reduce((sum, part) => sum + part, 0);
  const { videos, frames, refined, embedded } = result.coverage;
  const parts = [`${frames.toLocaleString()} frames of ${videos.toLocaleString()} videos in ${(seconds * 1000).toFixed(0)} ms`];
  if (embedded) parts.push(`${embedded} embedded for this query`);
  if (refined) parts.push(`${refined} made exact`);
  return parts.join(", ");
}
