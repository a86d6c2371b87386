"""Assign streams to places of a step: a place that one leaves is given to the next at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from heapq import heapify, heapreplace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.vision.streaming.schedule import GROUP, ORDER, PlannedStep
from kernels.select import REFERENCES

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
P = TypeVar("P", "Frames", "Round")
_ORDER = np.array(
    [[0] * GROUP, *([*order, *[0] * (GROUP - len(order))] for order in ORDER.values())]
)
_REFERENCES = np.array([len(references) for references in REFERENCES])


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a round, slot after slot: `[F]` each."""

    slots: Numbers
    groups: Numbers  # among those of the round
    numbers: Numbers  # in their streams, from the first waiting frame on
    references: Numbers  # frames that each is compared with; 0 for a full one

    def chosen(self, those: Flags) -> "Frames":
        """Return some of them."""
        return _picked(self, those)


@dataclass(frozen=True, slots=True)
class Round:
    """One step of every stream that has a place: `[B]` each, the places ascending."""

    streams: Numbers
    places: Numbers
    sizes: Numbers  # frames
    full: Flags
    done: Numbers  # frames of the stream in the rounds before
    begins: Flags  # streams that take their place now
    ends: Flags  # and those that leave it afterwards

    def begun(self) -> list[tuple[int, int]]:
        """Streams that take a place now, and which."""
        return self._pairs(self.begins)

    def ended(self) -> list[tuple[int, int]]:
        """Streams that leave their place afterwards, and which."""
        return self._pairs(self.ends)

    def frames(self) -> Frames:
        """List the frames, slot by slot and by place."""
        slots, groups = np.nonzero(np.arange(self.sizes.max())[:, None] < self.sizes)
        numbers = self.done[groups] + _ORDER[self.sizes[groups], slots]
        references = np.where(self.full[groups], 0, _REFERENCES[slots])
        return Frames(slots, groups, numbers, references)

    def _pairs(self, chosen: Flags) -> list[tuple[int, int]]:
        return list(zip(self.streams[chosen].tolist(), self.places[chosen].tolist(), strict=True))


def rounds(steps: Sequence[Sequence[PlannedStep]], room: int) -> Iterator[Round]:
    """Place streams, those with the most steps first, and yield what runs side by side.

    Args:
        steps: of each stream, in order; one without any takes no place.
        room: how many places there are.
    """
    counts = np.array([len(each) for each in steps], np.int64)
    total = int(counts.sum())
    if not total:
        return
    first, places = _assign(counts, room)
    streams = np.repeat(np.arange(len(steps)), counts)
    at = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    sizes = np.array([step.size for each in steps for step in each], np.int64)
    before = np.cumsum(sizes) - sizes
    whole = Round(
        streams=streams,
        places=places[streams],
        sizes=sizes,
        full=np.array([step.full for each in steps for step in each], bool),
        done=before - np.repeat(before[at == 0], counts[counts > 0]),
        begins=at == 0,
        ends=at == counts[streams] - 1,
    )
    when = first[streams] + at
    order = np.lexsort((whole.places, when))
    for part in np.split(order, np.cumsum(np.bincount(when))[:-1]):
        yield _picked(whole, part)


def _assign(counts: Numbers, room: int) -> tuple[Numbers, Numbers]:
    """Give each stream its first round and its place: the longest takes what is free soonest."""
    first, places = np.zeros_like(counts), np.zeros_like(counts)
    free = [(0, place) for place in range(room)]
    heapify(free)
    for stream in np.argsort(-counts, kind="stable"):
        if counts[stream]:
            first[stream], places[stream] = free[0]
            heapreplace(free, (int(first[stream] + counts[stream]), int(places[stream])))
    return first, places


def _picked(whole: P, at: NDArray[Any]) -> P:
    return type(whole)(*(getattr(whole, each.name)[at] for each in fields(whole)))
