"""Zones of a picture: polygons in shares of its width and height, by name or written out."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from engine.errors import UsageError

Zone: TypeAlias = tuple[tuple[float, float], ...]  # corners, in order
MOST_CORNERS = 32
_ALLOWED = (
    f"a rectangle [x0, y0, x1, y1] or 3 to {MOST_CORNERS} corners [[x, y], …], in shares of the"
    " picture, 0 to 1"
)


def read_zones(given: Any) -> tuple[tuple[str, Zone], ...]:
    """Read zones by name from a table, or from a text such as `door=0.1,0.2 0.5,0.2 0.3,0.9;…`."""
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(";") if part.strip()]
        given = {name.strip(): corners for name, _, corners in parts}
    if not isinstance(given, Mapping):
        given = dict(given)
    return tuple(sorted((str(name), read_zone(zone)) for name, zone in given.items()))


def read_zone(given: Any) -> Zone:
    """Read a rectangle or a polygon from numbers, or from a text as `0.1,0.2 0.5,0.2 0.3,0.9`."""
    if isinstance(given, str):
        given = [pair.split(",") for pair in given.split()]
    corners = _corners(given)
    if not 3 <= len(corners) <= MOST_CORNERS or any(not 0 <= v <= 1 for c in corners for v in c):
        raise UsageError(f"zone {given!r}; allowed: {_ALLOWED}")
    return corners


def _corners(given: Any) -> Zone:
    try:
        if len(given) == 4 and all(isinstance(side, int | float) for side in given):
            x0, y0, x1, y1 = map(float, given)
            return ((x0, y0), (x1, y0), (x1, y1), (x0, y1)) if x0 < x1 and y0 < y1 else ()
        return tuple(_corner(pair) for pair in given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"zone {given!r}; allowed: {_ALLOWED}") from error


def _corner(pair: Sequence[Any]) -> tuple[float, float]:
    x, y = map(float, pair)
    return x, y
