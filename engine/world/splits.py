"""What a clip may contain, and which combinations belong to which split."""

from functools import cache
from typing import Literal, get_args

from engine.errors import UsageError, unknown

Split = Literal["train", "val", "test"]

SHAPES = (
    "circle", "square", "triangle", "diamond", "star", "cross",
    "ring", "heart", "moon", "arrow", "hexagon", "drop",
)  # fmt: skip
COLOURS = {
    "red": (214, 32, 36),
    "orange": (245, 134, 20),
    "yellow": (248, 222, 44),
    "green": (34, 160, 52),
    "cyan": (36, 208, 220),
    "blue": (34, 72, 214),
    "purple": (132, 42, 176),
    "pink": (250, 130, 186),
    "brown": (120, 70, 28),
    "black": (22, 22, 24),
    "grey": (132, 134, 138),
    "white": (246, 246, 246),
}
PATTERNS = ("plain", "striped", "dotted", "checkered")
SIZES = {"small": 330, "medium": 490, "large": 690}  # radius; a frame is 4096 wide
MOTIONS = (
    "left", "right", "up", "down", "circle", "bounce", "grow", "shrink", "collide", "chase",
)  # fmt: skip

_COLOUR_SHARES: dict[Split, range] = {
    "train": range(8),
    "val": range(8, 10),
    "test": range(10, 12),
}
_MOTION_SHARES: dict[Split, range] = {"train": range(3), "val": range(3, 4), "test": range(4, 5)}


def check_split(name: str) -> Split:
    """Return `name` as a split, or raise a usage error."""
    for split in _COLOUR_SHARES:
        if name == split:
            return split
    raise UsageError(unknown("split", name, get_args(Split)))


@cache
def colours_of(split: Split, shape: str) -> tuple[str, ...]:
    """Colours that `shape` has in `split`; the splits share no (shape, colour) pair."""
    turn = 5 * SHAPES.index(shape)
    return tuple(
        colour
        for index, colour in enumerate(COLOURS)
        if (index + turn) % 12 in _COLOUR_SHARES[split]
    )


@cache
def motions_of(split: Split, shape: str) -> tuple[str, ...]:
    """Motions that `shape` has in `split`, next to staying still, which all splits have."""
    turn = 3 * SHAPES.index(shape)
    return tuple(
        motion
        for index, motion in enumerate(MOTIONS)
        if (index + turn) % 5 in _MOTION_SHARES[split]
    )
