"""Names that stand for something, ours and those that other distributions add by entry points.

A distribution that lists, in its pyproject.toml,

    [project.entry-points."dejavu_engine.strategies"]
    mine = "my_package:MINE"

makes `mine` a name like ours, wherever a strategy is asked for. What a name stands for is imported
when it is asked for, and not before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
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
        added = {point.name for point in entry_points(group=self.group)}
        return (*self.own, *sorted(added - set(self.own)))

    def find(self, name: str, kind: type[T]) -> T:
        """Return the `kind` that a name stands for; one that two distributions give is refused."""
        points = list(entry_points(group=self.group, name=name))
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


def _giver(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "dejavu-engine"
