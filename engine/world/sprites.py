"""Things as small pictures: shape, pattern and colour at a diameter in pixels."""

from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from engine.world.splits import COLOURS, SHAPES

Grid = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint16]
MASTER = 256  # pixels of the masks that all others are averaged from
POLYGONS = {
    "square": ((-800, -800), (800, -800), (800, 800), (-800, 800)),
    "triangle": ((0, -950), (960, 800), (-960, 800)),
    "diamond": ((0, -1000), (680, 0), (0, 1000), (-680, 0)),
    "star": (
        (0, -1000), (235, -324), (951, -309), (380, 124), (588, 809),
        (0, 400), (-588, 809), (-380, 124), (-951, -309), (-235, -324),
    ),
    "cross": (
        (-320, -950), (320, -950), (320, -320), (950, -320), (950, 320), (320, 320),
        (320, 950), (-320, 950), (-320, 320), (-950, 320), (-950, -320), (-320, -320),
    ),
    "arrow": (
        (-950, -260), (100, -260), (100, -760), (980, 0), (100, 760), (100, 260), (-950, 260),
    ),
    "hexagon": ((-980, 0), (-490, -850), (490, -850), (980, 0), (490, 850), (-490, 850)),
}  # fmt: skip


def _grid() -> tuple[Grid, Grid]:
    axis = (np.arange(MASTER, dtype=np.int64) * 2 + 1) * 1100 // MASTER - 1100
    return axis[:, None], axis[None, :]


def _polygon(points: tuple[tuple[int, int], ...], y: Grid, x: Grid) -> npt.NDArray[np.bool_]:
    """Even-odd rule in integers."""
    inside = np.zeros((MASTER, MASTER), dtype=bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        crosses = (ay > y) != (by > y)
        side = (x - ax) * (by - ay) - (bx - ax) * (y - ay)
        inside ^= crosses & ((side < 0) if by > ay else (side > 0))
    return inside


def _inside(shape: str) -> npt.NDArray[np.bool_]:
    y, x = _grid()
    if shape in POLYGONS:
        return _polygon(POLYGONS[shape], y, x)
    square = x * x + y * y
    if shape == "circle":
        return square < 940 * 940
    if shape == "ring":
        return (square < 970 * 970) & (square > 560 * 560)
    if shape == "moon":
        return (square < 970 * 970) & ((x - 480) ** 2 + (y + 120) ** 2 > 800 * 800)
    if shape == "drop":
        tip = _polygon(((0, -1000), (520, 120), (-520, 120)), y, x)
        return tip | (x * x + (y - 330) ** 2 < 610 * 610)
    lobes = ((abs(x) - 460) ** 2 + (y + 360) ** 2) < 510 * 510
    return lobes | _polygon(((-920, -130), (920, -130), (0, 950)), y, x)  # heart


@cache
def master(shape: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """A shape's face, and its face grown by an outline."""
    assert shape in SHAPES
    face = _inside(shape)
    outline = face.copy()
    for shift in (-6, 6):
        outline |= np.roll(face, shift, 0) | np.roll(face, shift, 1)
        outline |= np.roll(np.roll(face, shift * 2 // 3, 0), shift * 2 // 3, 1)
        outline |= np.roll(np.roll(face, shift * 2 // 3, 0), -shift * 2 // 3, 1)
    return face, outline


@cache
def pattern_master(pattern: str) -> npt.NDArray[np.bool_]:
    """Where a pattern shows its second colour."""
    index = np.arange(MASTER, dtype=np.int64)
    y, x = index[:, None], index[None, :]
    if pattern == "striped":
        return (x + y) % 64 < 28
    if pattern == "dotted":
        return (x % 64 - 32) ** 2 + (y % 64 - 32) ** 2 < 19 * 19
    if pattern == "checkered":
        return ((x // 43) + (y // 43)) % 2 == 0
    return np.zeros((MASTER, MASTER), dtype=bool)


@cache
def _summed(shape: str, pattern: str) -> npt.NDArray[np.int64]:
    """Summed areas `[3, M + 1, M + 1]` of outline, face and second colour, 256 where covered."""
    face, outline = master(shape)
    parts = np.stack([outline, face, pattern_master(pattern) & face]).astype(np.int64)
    total = np.zeros((3, MASTER + 1, MASTER + 1), dtype=np.int64)
    total[:, 1:, 1:] = (parts * 256).cumsum(1).cumsum(2)
    return total


@lru_cache(maxsize=4096)
def _coverage(shape: str, pattern: str, side: int) -> tuple[Mask, Mask, Mask]:
    """Coverage 0–256 of outline, face and second colour, `[1, side, side]` each."""
    edges = np.arange(side + 1, dtype=np.int64) * MASTER // side
    rows = np.diff(_summed(shape, pattern)[:, edges], axis=1)
    boxes = np.diff(rows[:, :, edges], axis=2)
    span = np.diff(edges)
    parts = (boxes // (span[:, None] * span[None, :])).astype(np.uint16)
    return parts[:1], parts[1:2], parts[2:]


def second_colour(colour: str) -> tuple[int, int, int]:
    """The other colour of a pattern: white on what is dark, near black on what is light."""
    r, g, b = COLOURS[colour]
    return (250, 250, 250) if 2 * r + 5 * g + b < 1040 else (30, 30, 34)


@lru_cache(maxsize=2048)
def sprite(shape: str, pattern: str, colour: str, side: int) -> tuple[Mask, Mask]:
    """Colour times coverage `[3, side, side]` and what is left of the background `[1, side, side]`.

    A picture is composed as `sprite + background * rest >> 8`, which 16 bits can hold.
    """
    outline, face, second = _coverage(shape, pattern, min(side, MASTER))
    edge = _ink((238, 238, 232) if colour == "black" else (16, 16, 18))
    body, other = _ink(COLOURS[colour]), _ink(second_colour(colour))
    paint = edge * (outline - face) + body * (face - second) + other * second
    return paint, 256 - outline


@lru_cache(maxsize=2048)
def ghost(shape: str, colour: str, side: int, strength: int) -> tuple[Mask, Mask]:
    """A faint plain copy, as `sprite`, for the trail behind what moves."""
    _, face, _ = _coverage(shape, "plain", min(side, MASTER))
    cover = (face.astype(np.uint32) * strength >> 8).astype(np.uint16)
    return cover * _ink(COLOURS[colour]), 256 - cover


def _ink(colour: tuple[int, int, int]) -> Mask:
    return np.array(colour, dtype=np.uint16)[:, None, None]
