"""Names that stand for something, ours and those that other distributions add by entry points.

A distribution that lists, in its pyproject.toml,

    [project.entry-points."dejavu_engine.strategies"]
    mine = "my_package:MINE"

makes `mine` a name like ours, wherever a strategy is asked for. What a name stands for is imported
when it is asked for, and not before.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import TypeVar

from engine.errors import UsageError, unknown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """One kind of thing that is asked for by name."""

    group: str  # of entry points
    what: str  # the kind, as errors call it
    own: Mapping[str, str]  # ours, each as `module:attribute`

    def all(self) -> tuple[str, ...]:
        """List our names and those that others add."""
        added = {point.name for point in _added(self.group, _path())}
        return (*self.own, *sorted(added - set(self.own)))

    def find(self, name: str, kind: type[T]) -> T:
        """Return the `kind` that a name stands for; one that two distributions give is refused."""
        points = list(_added(self.group, _path()).select(name=name))
        if name in self.own:
            points.append(EntryPoint(name, self.own[name], self.group))
        if not points:
            raise UsageError(unknown(self.what, name, self.all()))
        if len(points) > 1:
            givers = " and by ".join(sorted(map(_giver, points)))
            raise UsageError(f"{self.what} {name!r} is given by {givers}")
        told = f"{self.what} {name!r} of {_giver(points[0])}"
        try:
            value = points[0].load()
        except (ImportError, AttributeError) as error:
            raise UsageError(f"{told} cannot be loaded: {error}") from error
        if not isinstance(value, kind):
            found = type(value).__name__
            raise UsageError(f"{told} must be a {kind.__name__}, got a {found}")
        return value


@lru_cache(64)
def _added(group: str, _path: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Return what the distributions on a path add; to read every one of them takes long."""
    return entry_points(group=group)


def _path() -> tuple[tuple[str, int], ...]:
    """Return where distributions lie, and when one came or went there last."""
    return tuple((each, _changed(each or ".")) for each in sys.path)


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # asked often
    except OSError:
        return 0


def _giver(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "dejavu-engine"
