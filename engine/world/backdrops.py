"""Backdrops: a map of levels and a palette, on a canvas half as large again as a frame."""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engine.world.motion import SINE
from engine.world.scene import Backdrop

Levels = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
CANVAS = 6144  # units; the frame in its middle is 4096 wide

TONES: dict[str, tuple[Colour, Colour]] = {
    "pale blue": ((196, 212, 232), (120, 148, 186)),
    "pale green": ((200, 220, 192), (124, 158, 120)),
    "sandy": ((232, 218, 186), (182, 156, 112)),
    "slate": ((150, 158, 168), (78, 86, 98)),
    "rosy": ((236, 208, 208), (190, 140, 146)),
    "dusky": ((112, 98, 128), (56, 48, 76)),
}
DAY: tuple[Colour, Colour] = ((206, 224, 240), (140, 170, 204))
DUSK: tuple[Colour, Colour] = ((232, 180, 140), (96, 76, 120))


def _hash(a: Levels, b: Levels, seed: int) -> Levels:
    """Mix two grids into values in `[0, 256)`."""
    mixed = (a * 374761393 + b * 668265263 + seed * 1442695041) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) >> 8) & 255


def _smooth(y: Levels, x: Levels, seed: int, cell: int) -> Levels:
    """Value noise in `[0, 256)`: hashed corners of cells, mixed linearly."""
    cy, cx, fy, fx = y // cell, x // cell, y % cell, x % cell
    top = _hash(cy, cx, seed) * (cell - fx) + _hash(cy, cx + 1, seed) * fx
    low = _hash(cy + 1, cx, seed) * (cell - fx) + _hash(cy + 1, cx + 1, seed) * fx
    mixed = (top * (cell - fy) + low * fy) // (cell * cell)
    return mixed.astype(np.int64, copy=False)


def _wave(phase: Levels) -> Levels:
    """Sine of a phase that has 2400 to the turn, times 4096, linear between the table's rows."""
    table = np.array(SINE, dtype=np.int64)
    index, part = phase // 100 % 24, phase % 100
    return (table[index] * (100 - part) + table[(index + 1) % 24] * part) // 100


def _gradient(y: Levels, x: Levels, seed: int) -> Levels:
    down, across = ((1, 0), (0, 1), (1, 1), (-1, 1))[seed % 4]
    value = (y if down >= 0 else CANVAS - y) * abs(down) + x * across
    return value * 255 // (CANVAS * (abs(down) + across))


def _tiles(y: Levels, x: Levels, seed: int) -> Levels:
    side = 420 + 70 * (seed % 3)
    return 60 + ((y // side + x // side) % 2) * 130


def _bricks(y: Levels, x: Levels, seed: int) -> Levels:
    row = y // 300
    shifted = x + (row % 2) * 330
    mortar = (y % 300 < 40) | (shifted % 660 < 40)
    return np.where(mortar, 10, 130 + _hash(row, shifted // 660, seed) // 3)


def _planks(y: Levels, x: Levels, seed: int) -> Levels:
    board = x // 512
    grain = _hash(x // 40, y // 900, seed) // 8
    return np.where(x % 512 < 36, 250, 60 + _hash(board, board * 0, seed) // 3 + grain)


def _sand(y: Levels, x: Levels, seed: int) -> Levels:
    return 70 + _hash(y // 55, x // 55, seed) // 3


def _clouds(y: Levels, x: Levels, seed: int) -> Levels:
    return (_smooth(y, x, seed, 1400) * 2 + _smooth(y, x, seed + 1, 600)) // 3


def _paper(y: Levels, x: Levels, seed: int) -> Levels:
    side = 380 + 40 * (seed % 3)
    return np.where((y % side < 40) | (x % side < 40), 190, 20)


def _plain(y: Levels, x: Levels, seed: int) -> Levels:
    return np.broadcast_to(np.int64(80 + seed % 3 * 30), np.broadcast_shapes(y.shape, x.shape))


Surface = Callable[[Levels, Levels, int], Levels]
SURFACES: dict[str, Surface] = {
    "gradient": _gradient,
    "tiled floor": _tiles,
    "brick wall": _bricks,
    "wooden fence": _planks,
    "gravel": _sand,
    "mist": _clouds,
    "grid": _paper,
    "wall": _plain,
}


def _street(y: Levels, x: Levels, seed: int, sky: Levels) -> Levels:
    block = x // 700
    height = 3300 - _hash(block, block * 0, seed) * 7
    building = y > height
    window = building & (x % 700 % 175 > 85) & (y % 330 > 170) & (x % 700 > 80)
    level = np.where(building, 66 + _hash(block, block * 0, seed + 9) // 4, sky)
    level = np.where(window, 140 + _hash(x // 175, y // 330, seed) // 8, level)
    road = y > 3900
    dash = (abs(y - 4700) < 60) & (x % 900 < 480)
    return np.where(road, np.where(dash, 255, 195 + (y % 90) // 45), level)


def _hills(y: Levels, x: Levels, seed: int, sky: Levels) -> Levels:
    far = 2900 + _wave(x // 2 + seed % 2400) * 400 // 4096
    near = 3900 + _wave(x // 3 + seed % 1700) * 600 // 4096
    return np.where(y > near, 150, np.where(y > far, 100, sky))


def _sea(y: Levels, x: Levels, seed: int, sky: Levels) -> Levels:
    ripple = _wave(x // 2 + _wave(y // 3 + seed) // 8 + y * 3) * 24 // 4096
    return np.where(y > 2500, 120 + ripple, sky)


def _night(y: Levels, x: Levels, seed: int, sky: Levels) -> Levels:
    star = (_hash(y // 70, x // 70, seed) > 251) & (sky >= 0)
    return np.where(star, 255, 66 + y * 40 // CANVAS)


View = Callable[[Levels, Levels, int, Levels], Levels]
VIEWS: dict[str, View] = {"street": _street, "hills": _hills, "sea": _sea, "night sky": _night}
# colours at levels 66, 128, 192 and 255, after the sky's ramp over 0–64
_VIEW_COLOURS: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "street": ((122, 104, 98), (170, 152, 136), (92, 94, 100), (226, 226, 214)),
    "hills": ((150, 176, 130), (96, 134, 84), (70, 104, 62), (60, 90, 52)),
    "sea": ((70, 120, 150), (64, 116, 150), (120, 168, 190), (200, 220, 230)),
    "night sky": ((10, 14, 36), (40, 40, 84), (120, 120, 160), (250, 248, 226)),
}


def tones_of(kind: str) -> tuple[str, ...]:
    """Return the tones that a kind of backdrop has."""
    if kind in SURFACES:
        return tuple(TONES)
    return ("clear",) if kind == "night sky" else ("day", "dusk")


def _ramp(stops: list[tuple[int, Colour]]) -> Bytes:
    """256 colours, linear between stops, in integers."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for (low, a), (high, b) in pairwise(stops):
        for level in range(low, high + 1):
            palette[level] = [
                p + (q - p) * (level - low) // (high - low) for p, q in zip(a, b, strict=True)
            ]
    return palette


@lru_cache(maxsize=64)
def _palette(kind: str, tone: str) -> Bytes:
    if kind in SURFACES:
        light, dark = TONES[tone]
        return _ramp([(0, light), (255, dark)])
    top, bottom = DUSK if tone == "dusk" else DAY
    a, b, c, d = _VIEW_COLOURS[kind]
    if tone == "dusk":
        a, b, c = ((p * 6 // 10, q * 5 // 10, r * 7 // 10) for p, q, r in (a, b, c))
    return _ramp([(0, bottom), (64, top), (66, a), (128, b), (192, c), (255, d)])


@lru_cache(maxsize=4)
def texture(backdrop: Backdrop, side: int) -> Bytes:
    """The canvas of a backdrop, `[3, side, side]`."""
    axis = (np.arange(side, dtype=np.int64) * 2 + 1) * CANVAS // (2 * side)
    y, x = axis[:, None], axis[None, :]
    if backdrop.kind in SURFACES:
        levels = SURFACES[backdrop.kind](y, x, backdrop.seed)
    else:
        sky = np.minimum(y * 64 // 3600, 64)
        levels = VIEWS[backdrop.kind](y, x, backdrop.seed, sky)
    index = np.broadcast_to(np.clip(levels, 0, 255), (side, side)).astype(np.uint8)
    palette = _palette(backdrop.kind, backdrop.tone)
    picture = np.stack([palette[:, channel].take(index) for channel in range(3)])
    picture.setflags(write=False)
    return picture
