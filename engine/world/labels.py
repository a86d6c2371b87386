"""What each patch of a frame shows, to teach a tower where things are."""

import numpy as np
import numpy.typing as npt

from engine.world.render import camera_at, place
from engine.world.scene import Thing, WorldScript, position_at
from engine.world.splits import COLOURS, MOTIONS, PATTERNS, SHAPES, SIZES

_ACTS = ("still", *MOTIONS)
# number of labels of each kind, 0 for the backdrop included
KINDS = {
    "shape": len(SHAPES) + 1,
    "colour": len(COLOURS) + 1,
    "pattern": len(PATTERNS) + 1,
    "size": len(SIZES) + 1,
    "motion": len(_ACTS) + 1,
}


def label_patches(script: WorldScript, tick: int, side: int) -> npt.NDArray[np.uint8]:
    """Labels `[kinds, side * side]` of the patches of a frame cut into `side`×`side`."""
    shot = script.shot_at(tick)
    view = camera_at(shot, tick)
    labels = np.zeros((len(KINDS), side, side), dtype=np.uint8)
    fine = 16 * side
    middles = np.arange(side) * 16 + 8
    for thing in (thing for thing in shot.things if thing.shown_at(tick)):
        numbers = np.array(_numbers(thing, tick), dtype=np.uint8)
        for keys in thing.keys:
            width, left, top = place(position_at(keys, tick), view, fine)
            x, y = left + width // 2, top + width // 2
            near = (middles[:, None] - y) ** 2 + (middles - x) ** 2 < max(width * 4 // 10, 9) ** 2
            labels[:, near] = numbers[:, None]
    return labels.reshape(len(KINDS), side * side)


def _numbers(thing: Thing, tick: int) -> tuple[int, ...]:
    return (
        1 + SHAPES.index(thing.shape),
        1 + tuple(COLOURS).index(thing.colour_at(tick)),
        1 + PATTERNS.index(thing.pattern),
        1 + tuple(SIZES).index(thing.size),
        1 + _ACTS.index(thing.act_at(tick).motion),
    )
