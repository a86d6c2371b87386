// Scrubbing: the pictures of a whole video in one file, of which a place shows one at a time.

import { make, sourceOf } from "./api.js";

const IN_A_ROW = 10; // as the server draws them
const FEW = 40, MANY = 100;

export const tilesOf = (seconds) => (seconds < 120 ? FEW : MANY);

export const spriteOf = (video, tiles) => sourceOf(`/videos/${video}/sprite.jpg?tiles=${tiles}&width=240`);

// a place that shows tile `n` of a sprite by `show(n)`
export function tile(url, tiles, { width, height }) {
  const node = make("div", { className: "tile", aria: { hidden: "true" } });
  const rows = Math.ceil(tiles / IN_A_ROW), columns = Math.min(tiles, IN_A_ROW);
  node.style.setProperty("--shape", (width || 16) / (height || 9));
  node.style.backgroundImage = `url("${url}")`;
  node.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
  const show = (number) => {
    const at = Math.min(Math.max(number, 0), tiles - 1);
    const across = columns > 1 ? (at % IN_A_ROW) / (columns - 1) : 0, down = rows > 1 ? Math.floor(at / IN_A_ROW) / (rows - 1) : 0;
    node.style.backgroundPosition = `${across * 100}% ${down * 100}%`;
  };
  show(0);
  return { node, show };
}

// a picture over which the pointer moves shows the video from its beginning to its end
export function scrubbed(node, video) {
  if (!video.duration_seconds || video.source_gone || !matchMedia("(hover: hover)").matches) return;
  const tiles = FEW;
  let made = null, left = true;
  const line = make("i", { className: "scrub-line" });
  node.addEventListener("pointerenter", async () => {
    left = false;
    try { made ??= tile(await spriteOf(video.id, tiles), tiles, video); }
    catch { return; } // its picture stays
    if (left) return;
    node.append(made.node, line);
  });
  node.addEventListener("pointermove", (event) => {
    const box = node.getBoundingClientRect(), share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.999);
    made?.show(Math.floor(share * tiles));
    line.style.left = `${share * 100}%`;
  });
  node.addEventListener("pointerleave", () => { left = true; made?.node.remove(); line.remove(); });
}
