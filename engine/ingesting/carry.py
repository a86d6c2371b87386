"""Which sampled frames may take an earlier picture's vector, by packets and an audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.video.coded import CodedPictures
from engine.vision.bounded.audit import upper_mean

FLOOR = 0.2  # quantile of a stream's packets: so many bytes are noise
SMALLEST_AUDIT, LARGEST_AUDIT = 16, 24  # groups; fewer overlook a burst
AUDITED = 0.1  # of the groups
LEAST = 8  # audited groups that a judgement rests on
KEY = -1  # an anchor: the key picture, which need not be sampled itself

Drifts = NDArray[np.float64]  # [1 + rows, rows] of a group: from the key picture, from each row


@dataclass(frozen=True, slots=True)
class CodedGroup:
    """A group of pictures in the order shown, and the rows that are sampled in it."""

    key: int  # place of its key picture among all pictures
    first_row: int  # place of its first row among all rows
    shown: tuple[int, ...]  # the picture of each row
    change: tuple[float, ...]  # bytes above the noise after the key picture, after each row's

    def anchor(self, most: float) -> int:
        """Return the first picture after which no more than `most` changes: a row, or `KEY`."""
        places = (at for at, change in enumerate(self.change, KEY) if change <= most)
        return next(places, len(self.shown) - 1)

    def carried(self, most: float) -> range:
        """Return its rows that take the anchor's vector, counted within the group."""
        anchor = self.anchor(most)
        return range(anchor + 1 + int(anchor == KEY and self.shown[0] == self.key), len(self.shown))

    def pictures(self, most: float) -> int:
        """Return how many pictures have to be decoded for it."""
        anchor = self.anchor(most)
        return 1 if anchor == KEY else self.shown[anchor] - self.key + 1

    def lost(self, most: float, drifts: Drifts) -> float:
        """Return the summed drift of its carried rows."""
        anchor = self.anchor(most)
        return float(sum(drifts[anchor - KEY, row] for row in self.carried(most)))


def groups_of(coded: CodedPictures, shown: Sequence[int]) -> list[CodedGroup]:
    """Cut rows, given by the pictures that they show, into groups; those before a key have none."""
    keys = np.flatnonzero(coded.key)
    others = coded.size_bytes[~coded.key]
    floor = float(np.quantile(others, FLOOR)) if len(others) else 0.0
    excess = np.where(coded.key, 0.0, np.maximum(coded.size_bytes - floor, 0.0))
    total = np.cumsum(excess)
    of = np.searchsorted(keys, shown, "right") - 1
    groups = []
    for at in range(len(keys)):
        first, stop = np.searchsorted(of, [at, at + 1])
        if first < stop:
            own = [int(each) for each in shown[first:stop]]
            after = tuple(float(total[own[-1]] - total[place]) for place in [keys[at], *own])
            groups.append(CodedGroup(int(keys[at]), int(first), tuple(own), after))
    return groups


def draw_groups(groups: Sequence[CodedGroup], seed: int) -> list[int]:
    """Draw the groups to be audited: one of each part of equal size, by their change."""
    count = min(max(round(AUDITED * len(groups)), SMALLEST_AUDIT), LARGEST_AUDIT, len(groups))
    order = sorted(range(len(groups)), key=lambda at: groups[at].change[0])
    random = np.random.default_rng(seed)
    return [int(random.choice(part)) for part in np.array_split(order, count)]


@dataclass(frozen=True, slots=True)
class Judged:
    """How much may change unseen, and what the audit says of the rows that are then carried."""

    most: float  # bytes; below 0 nothing is carried
    mean: float  # drift of a carried row, as the audit saw it
    upper: float = 0.0  # what carried rows add to the mean drift of all rows is at most this


def judge(
    groups: Sequence[CodedGroup],
    audited: Mapping[int, Drifts],
    rows: int,
    limit: float,
    risk: float,
) -> Judged:
    """Return the largest change for which the mean drift of all rows is at most `limit`.

    Changes are tried from the smallest on, each by the same test, up to the first that fails: so
    the chance that one passes which should not is `risk`, however many are tried.
    """
    found = Judged(-1.0, 0.0)
    order = sorted(audited, key=lambda at: groups[at].change[0])
    steps = [groups[at].change[0] for at in order]
    if len(audited) >= SMALLEST_AUDIT:
        steps[-1] = max(group.change[0] for group in groups)
    for most in steps[LEAST - 1 :]:
        carrying = {at for at, group in enumerate(groups) if group.carried(most)}
        seen = [at for at in order if at in carrying]
        if len(seen) < LEAST:
            continue
        lost = [groups[at].lost(most, audited[at]) for at in seen]
        upper = upper_mean(lost, risk) * (len(carrying) - len(seen)) / rows
        if upper > limit:
            break
        carried = sum(len(groups[at].carried(most)) for at in seen)
        found = Judged(most, sum(lost) / carried, upper)
    return found


def pictures_for(groups: Sequence[CodedGroup], most: float, known: Mapping[int, Drifts]) -> int:
    """Return how many pictures are decoded besides those of the groups that are known."""
    return sum(group.pictures(most) for at, group in enumerate(groups) if at not in known)
