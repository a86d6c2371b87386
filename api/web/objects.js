// Objects on a video's page: labels with a frame that shows each, looked for where a person asks.

import { brief, button, clock, make } from "./api.js";
import { boxesAt, costOf, draw, labelsOf, lookedFor, storedBoxes } from "./boxes.js";
import { card } from "./facts.js";
import { picture } from "./moments.js";
import { play } from "./player.js";
import { t } from "./words.js";

export function objectsCard(video, still) {
  if (!video.duration_seconds || video.source_gone) return null;
  const list = make("div", { className: "chips" }), shown = make("div", {}), more = make("div", {});
  const told = make("p", { className: "hint", role: "status", textContent: t("app.wait") });
  const failed = (error) => { told.textContent = error.message; };
  const show = async (found) => {
    const { frames, caution } = await found;
    if (!still()) return;
    const labels = labelsOf(frames);
    told.textContent = labels.length ? caution ?? "" : t("objects.none");
    list.replaceChildren(...labels.map((each) => button(t("objects.label", { label: each.label, count: each.frames.size }),
      () => example(video, shown, frames, each), { className: "chip object" })));
    if (labels.length) example(video, shown, frames, labels[0]); else shown.replaceChildren();
    const cost = await costOf(video.id);
    if (!still()) return;
    more.replaceChildren();
    if (!cost) return;
    const look = button(t("objects.look", { frames: cost.frames, time: brief(cost.seconds) }), () => {
      look.disabled = true;
      told.textContent = t("video.looking");
      show(lookedFor(video.id)).catch((error) => { failed(error); look.disabled = false; });
    });
    more.append(look);
  };
  show(storedBoxes(video.id)).catch(failed);
  return card(t("objects.title"), list, shown, told, more);
}

// the frame in which a label is surest, with all that stands in it
function example(video, node, frames, { label, score, seconds }) {
  const said = t("objects.at", { label, score: score.toFixed(2), time: clock(seconds) });
  const layer = make("div", { className: "boxes", aria: { hidden: "true" } });
  const open = make("button", { type: "button", className: "shown-frame", title: t("objects.play", { time: clock(seconds) }) },
    picture(`/videos/${video.id}/frames/${seconds.toFixed(3)}.jpg?width=480`, said), layer);
  open.style.aspectRatio = `${video.width || 16} / ${video.height || 9}`;
  draw(layer, boxesAt(frames, seconds));
  open.addEventListener("click", () => play([{ video_id: video.id, name: video.name, start_seconds: seconds, stop_seconds: seconds, peak_seconds: seconds }], 0, null));
  node.replaceChildren(make("figure", {}, open, make("figcaption", { className: "hint", textContent: said })));
}
