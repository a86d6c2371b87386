// A grid of any number of cards: only those near what is seen are there, and only their pages are asked for.

import { make } from "./api.js";

const NARROW = 215, NARROW_PHONE = 150, GAP = 15; // pixels
const TEXT = 104; // below a card's picture
const SPARE = 2; // rows above and below what is seen
const shown = new WeakMap(); // by element, what ends its grid

// `read(from)` returns the `size` items from a place on; `card(item)` draws one
export function gridOf(node, count, size = 1, read = null, card = null, failed = () => {}) {
  shown.get(node)?.abort();
  const ended = new AbortController();
  shown.set(node, ended);
  const cards = new Map(), pages = new Map();
  let columns = 1, wide = 0, high = 0;
  node.setAttribute("role", "list");

  const measure = () => {
    if (!node.clientWidth) return; // not shown yet
    const all = node.clientWidth, least = all < 600 ? NARROW_PHONE : NARROW;
    columns = Math.max(1, Math.floor((all + GAP) / (least + GAP)));
    wide = (all - GAP * (columns - 1)) / columns;
    high = Math.ceil((wide * 10) / 16) + TEXT + GAP;
    node.style.height = `${Math.ceil(count / columns) * high}px`;
    for (const [at, each] of cards) lay(each, at);
    draw();
  };
  const lay = (each, at) => {
    for (const [side, value] of [["left", (at % columns) * (wide + GAP)], ["top", Math.floor(at / columns) * high], ["width", wide], ["height", high - GAP]]) each.style[side] = `${value}px`;
  };
  const put = (at, each) => {
    each.setAttribute("role", "listitem");
    each.setAttribute("aria-posinset", at + 1);
    each.setAttribute("aria-setsize", count);
    lay(each, at);
    if (cards.has(at)) cards.get(at).replaceWith(each); else node.append(each);
    cards.set(at, each);
  };
  const need = (number) => {
    if (pages.has(number)) return;
    pages.set(number, null); // it is on its way
    read(number * size).then((items) => {
      pages.set(number, items);
      for (const at of cards.keys()) if (Math.floor(at / size) === number && items[at % size]) put(at, card(items[at % size]));
    }, (error) => { pages.delete(number); if (!ended.signal.aborted) failed(error); });
  };
  const draw = () => {
    if (!node.clientWidth || ended.signal.aborted) return;
    const top = -node.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / high) - SPARE) * columns;
    const stop = Math.min(count, Math.max(0, Math.ceil((top + innerHeight) / high) + SPARE) * columns);
    for (const [at, each] of cards) if ((at < first || at >= stop) && !each.contains(document.activeElement)) { each.remove(); cards.delete(at); }
    for (let at = first; at < stop; at++) {
      if (cards.has(at)) continue;
      const item = pages.get(Math.floor(at / size))?.[at % size];
      put(at, item ? card(item) : make("div", { className: "ghost" }));
    }
    clearTimeout(asking);
    asking = setTimeout(() => { // who only passes by asks for nothing
      if (ended.signal.aborted) return;
      for (let number = Math.floor(first / size); number * size < stop; number++) need(number);
      for (const number of pages.keys()) if (pages.get(number) && Math.abs(number - first / size) > 20) pages.delete(number);
    }, pages.size ? 80 : 0);
  };
  let asking = 0;
  node.replaceChildren();
  addEventListener("scroll", () => requestAnimationFrame(draw), { signal: ended.signal, passive: true });
  const sized = new ResizeObserver(measure);
  sized.observe(node.parentElement);
  ended.signal.addEventListener("abort", () => { sized.disconnect(); clearTimeout(asking); });
  measure();
}
