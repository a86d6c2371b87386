"""Steppers whose memory is one table of their streams, copied in and out by place."""

from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

M = TypeVar("M")


class Table(Protocol[M]):
    """What streams side by side left behind; an M is that of one."""

    def load(self, saved: Mapping[int, M]) -> None:
        """Copy what streams left to their places."""

    def saved(self, places: Sequence[int]) -> list[M]:
        """Copies of what these streams left, each by itself."""


class Tabled(Generic[M]):
    """Loads and saves streams' memory by its table."""

    __slots__ = ()
    _table: Table[M]

    def load(self, saved: Mapping[int, M]) -> None:
        """Copy what streams left to their places."""
        self._table.load(saved)

    def saved(self, places: Sequence[int]) -> list[M]:
        """Return copies of what these streams left."""
        return self._table.saved(places)
