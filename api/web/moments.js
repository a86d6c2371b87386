// Moments as cards: a picture of the peak, when, how well it fits, and where in its video it lies.

import { clock, get, make, sourceOf, whenSeen } from "./api.js";
import { curveOf, drawing } from "./curve.js";
import { nameOf, play } from "./player.js";
import { here } from "./route.js";
import { t } from "./words.js";

export function picture(path, alt) {
  const image = make("img", { className: "picture", loading: "lazy", alt });
  image.addEventListener("error", () => image.replaceWith(make("div", { className: "picture none", textContent: t("moment.picture") })));
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
    picture(moment.thumbnail_url, t("moment.at", { name: moment.name, time: clock(moment.peak_seconds) })),
    make("div", { className: "text" },
      make("span", { className: "name", textContent: moment.name, title: moment.name }),
      make("span", { className: "when" },
        make("span", { textContent: t("time.span", { start: clock(moment.start_seconds), stop: clock(moment.stop_seconds) }) }),
        make("span", { textContent: moment.clear === false ? t("moment.unclear", { score }) : score, title: t("moment.score") })),
      ...(moment.line ? [make("span", { className: "line", textContent: `“${moment.line}”` })] : []),
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
  const { videos, frames, refined, embedded, complete, lacking } = result.coverage;
  const told = [t("moment.cost", { frames, count: videos, time: t("time.milliseconds", { number: (seconds * 1000).toFixed(0) }) })];
  if (embedded) told.push(t("moment.embedded", { number: embedded }));
  if (refined) told.push(t("moment.refined", { number: refined }));
  if (!complete) told.push(t("moment.incomplete", { why: lacking.length ? lacking.slice(0, 3).join("; ") : t("moment.ended") }));
  return told.join(t("app.and"));
}
