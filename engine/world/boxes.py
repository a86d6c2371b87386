"""Where the things of a clip are at an instant, and how much of each is to be seen."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from engine.world.render import camera_at, place
from engine.world.scene import Thing, WorldScript, position_at
from engine.world.sprites import MASTER, master

GRAIN = 128  # pixels along an edge of the picture on which what hides what is counted


@dataclass(frozen=True, slots=True)
class WorldBox:
    """One object in one picture."""

    number: int  # of the object in its shot, the same at every instant
    shape: str
    colour: str
    sides: tuple[float, float, float, float]  # left, top, right, bottom in shares, cut at the edge
    visible: float  # share of the object that is in the picture and that nothing hides

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.colour} {self.shape}"


def boxes_at(script: WorldScript, tick: int, size: int = 224) -> list[WorldBox]:
    """Return the objects in the picture at a tick, the hindmost first.

    A box is the smallest around the object's face; of one that is cut at the picture's edge, around
    what is left. Objects that lie wholly outside are none.
    """
    shot = script.shot_at(tick)
    view = camera_at(shot, tick)
    owner = np.full((GRAIN, GRAIN), -1)
    found: list[tuple[int, Thing, tuple[int, int, int], int]] = []
    number = 0
    for thing in shot.things:
        for keys in thing.keys:
            if thing.shown_at(tick):
                at = place(position_at(keys, tick), view, size)
                coarse = place(position_at(keys, tick), view, GRAIN)
                found.append((number, thing, at, _stamp(owner, thing.shape, coarse, number)))
            number += 1
    boxes = []
    for own, thing, (side, left, top), pixels in found:
        x0, y0, x1, y1 = extent(thing.shape)
        edges = (left + x0 * side, top + y0 * side, left + x1 * side, top + y1 * side)
        x0, y0, x1, y1 = (min(max(edge / size, 0.0), 1.0) for edge in edges)
        if x0 < x1 and y0 < y1:
            seen = int((owner == own).sum()) / max(pixels, 1)
            colour = thing.colour_at(tick)
            boxes.append(WorldBox(own, thing.shape, colour, (x0, y0, x1, y1), seen))
    return boxes


@cache
def extent(shape: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a shape's face in shares of its mask."""
    rows, columns = (np.flatnonzero(master(shape)[0].any(axis)) for axis in (1, 0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    left, top, right, bottom = (float(edge) / MASTER for edge in edges)
    return left, top, right, bottom


def _stamp(owner: npt.NDArray[np.int_], shape: str, at: tuple[int, int, int], number: int) -> int:
    """Put an object over what is there; return how many pixels it has, those outside too."""
    side, left, top = at
    steps = (np.arange(side) * 2 + 1) * MASTER // (2 * side)
    mask = master(shape)[0][np.ix_(steps, steps)]
    rows, columns = np.nonzero(mask)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < GRAIN) & (columns >= 0) & (columns < GRAIN)
    owner[rows[inside], columns[inside]] = number
    return len(rows)
