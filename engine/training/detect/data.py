"""Made-up pictures with what is where in them, rendered by several processes."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor

from engine.world.boxes import boxes_at
from engine.world.draw import Draw
from engine.world.render import Image, render_planes
from engine.world.script import make_script
from engine.world.splits import COLOURS, SHAPES, Split

ATTRIBUTES = (tuple(COLOURS), SHAPES)
UNTOLD = -100  # in place of an attribute that is not to be learnt
MOST = 12  # objects of a picture that are told


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures and their objects; what is not to be seen at all is none."""

    pixels: Tensor  # uint8 [n, 3, S, S]
    boxes: Tensor  # float32 [n, MOST, 4]: left, top, right, bottom in shares of the picture
    attributes: Tensor  # int64 [n, MOST, 2]: the places of colour and shape, UNTOLD for neither
    visible: Tensor  # float32 [n, MOST], share of the object that is to be seen

    def __len__(self) -> int:
        return len(self.pixels)

    def pick(self, rows: Tensor) -> "Pictures":
        """Some of them, as many times as asked."""
        return Pictures(
            self.pixels[rows], self.boxes[rows], self.attributes[rows], self.visible[rows]
        )

    def to(self, device: torch.device) -> "Pictures":
        """Move all to a device."""
        return Pictures(
            self.pixels.to(device),
            self.boxes.to(device),
            self.attributes.to(device),
            self.visible.to(device),
        )


def render_pictures(split: Split, count: int, seed: int, *, size: int, workers: int) -> Pictures:
    """Render one picture of each of so many clips, at a time that is drawn."""
    draw = Draw("pictures", seed)
    seeds = [draw.below(1 << 40) for _ in range(count)]
    one = partial(_render, split, size)
    if workers < 1:
        made = list(map(one, seeds))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            made = list(pool.map(one, seeds, chunksize=64))
    pixels, boxes, attributes, visible = (np.stack(part) for part in zip(*made, strict=True))
    return Pictures(*map(torch.from_numpy, (pixels, boxes, attributes, visible)))


def recoloured(pictures: Pictures, generator: torch.Generator) -> Pictures:
    """Change the colours of half the pictures, of which no colour is told then.

    A shape has no more than eight colours in a split: without it a colour would tell what it
    cannot be, and in another split it is just that.
    """
    count, device = len(pictures), pictures.pixels.device
    drawn = torch.rand(3, count, 3, generator=generator, device=device)
    changed = drawn[0, :, 0] < 0.5
    order = drawn[1].argsort(1).where(changed[:, None], torch.arange(3, device=device))
    turned = (drawn[2] < 0.5) & changed[:, None]  # channels whose dark is light
    pixels = pictures.pixels[torch.arange(count, device=device)[:, None], order]
    pixels = torch.where(turned[..., None, None], 255 - pixels, pixels)
    untold = torch.stack([changed, torch.zeros_like(changed)], 1)[:, None]
    attributes = pictures.attributes.masked_fill(untold, UNTOLD)
    return Pictures(pixels, pictures.boxes, attributes, pictures.visible)


def _render(split: Split, size: int, seed: int) -> tuple[Image, ...]:
    script = make_script(seed, split, None, None)
    tick = Draw("tick", seed).below(script.duration)
    boxes = np.zeros((MOST, 4), np.float32)
    attributes = np.zeros((MOST, 2), np.int64)
    visible = np.zeros(MOST, np.float32)
    seen = [box for box in boxes_at(script, tick, size) if box.visible > 0]
    for at, box in enumerate(seen[-MOST:]):
        boxes[at], visible[at] = box.sides, box.visible
        attributes[at] = ATTRIBUTES[0].index(box.colour), ATTRIBUTES[1].index(box.shape)
    return render_planes(script, tick, size), boxes, attributes, visible  # type: ignore[return-value]
