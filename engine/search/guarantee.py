"""A filter by a dear oracle that a cheap score spares most rows: recall and precision, promised.

Rows are ranked by the score. The best are taken, the worst left out, those between asked, and of
both ends so many are asked at random that what is wrong there is bounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import LimitError, UsageError
from engine.search.bounds import Bet, planned_rest
from engine.search.proxy import RankedRows, Vectors, rank, spread

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
Oracle = Callable[[Rows], Flags]  # asked about each row at most once

_PILOT: Final = 240  # rows asked first, from which it is learnt what the score is worth
_LESSONS: Final = 30  # further pilots at most where there are vectors, as long as they pay
_PAYS: Final = 0.98  # of what was expected before: what a lesson has to come down to
_PATIENCE: Final = 2  # lessons that do not
_EDGES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)  # of ranks: as many from each part
_OF_RECALL: Final = 0.85  # of what may go wrong; the rest is of precision
_ROUNDS: Final = (0.8, 0.2)  # of it: planned anew, where a bound came out too wide
_REST: Final = 0.25  # of what may go wrong is left for each further step
_MARGIN: Final = 0.85  # of what is allowed is planned for
_RISE: Final = 1.7  # of the chance to be asked, with each step
_CUTS: Final = 100  # places that are tried for each end, twice
_CHANCES: Final = np.geomspace(0.002, 0.95, 80)  # of being asked there


@dataclass(frozen=True, slots=True)
class Targets:
    """What is promised: both at once, with this confidence."""

    recall: float = 0.95
    precision: float = 0.9
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 < value <= 1 or (name == "confidence" and value == 1):
                most = "below 1" if name == "confidence" else "up to 1"
                raise UsageError(f"{name} is {value:g}; allowed: above 0, {most}")


@dataclass(slots=True)
class Filtered:
    """The rows that pass, what was asked for them, and what holds of them."""

    passes: Flags
    calls: int = 0
    recall: float = 1.0  # at least, with the confidence
    precision: float = 1.0
    rounds: int = 0  # of planning; 0: all were asked
    steps: int = 0  # by which more was asked than planned
    taken: int = 0  # rows that pass unasked
    left_out: int = 0  # rows that do not, unasked
    learnt: bool = False  # whether rows were ranked by what was learnt from vectors


@dataclass(slots=True)
class _Asked:
    """What the oracle has said."""

    oracle: Oracle
    most: int | None
    known: Flags
    true: Flags
    calls: int = 0

    def ask(self, rows: Rows) -> None:
        """Ask about rows that are not known."""
        rows = rows[~self.known[rows]]
        if self.most is not None and self.calls + len(rows) > self.most:
            raise LimitError(
                f"the targets need more than {self.most:,} calls; allowed: a higher max_calls, or"
                " lower recall, precision or confidence",
                kind="rows",
            )
        if len(rows):
            self.true[rows] = self.oracle(rows)
            self.known[rows] = True
            self.calls += len(rows)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where an end begins, with what chance its rows are asked at first, and the share bet on."""

    place: int
    chance: float = 1.0
    share: float = 0.9

    def asked(self, rows: int) -> float:
        """Return about how many of an end's rows are asked."""
        return rows * self.chance


@dataclass(slots=True)
class _End:
    """One end of the ranking: its rows, those asked so far, and what may be wrong with the rest.

    Each row has a number that is drawn once; it is asked as soon as the chance passes that. Chances
    rise by a rule that was fixed before, and each step has its own part of what may go wrong, so
    that a bound holds whenever it is looked at.
    """

    rows: Rows
    cut: _Cut
    delta: float
    further: float  # of it, for each further step
    wrong: bool  # the answer that is wrong here
    drawn: Scores
    steps: int = 0

    @property
    def chance(self) -> float:
        """With what chance a row has been asked by now."""
        return min(1.0, self.cut.chance * _RISE**self.steps)

    @property
    def asked(self) -> Rows:
        """The rows to be asked by now."""
        return self.rows[self.drawn < self.chance]

    def most(self, asked: _Asked) -> float:
        """Return how many of the rows that were not asked are wrong at most."""
        left = len(self.rows) - len(self.asked)
        if left == 0:
            return 0.0
        found = int((asked.true[self.asked] == self.wrong).sum())
        delta = self.delta * (1 - self.further) * self.further**self.steps
        bound = Bet.on(self.chance, self.cut.share).most(np.full(found, self.chance), delta)
        return float(np.floor(min(bound - found, left)))


def guaranteed_filter(
    scores: Scores,
    oracle: Oracle,
    targets: Targets,
    rng: np.random.Generator,
    *,
    max_calls: int | None = None,
    vectors: Vectors | None = None,
) -> Filtered:
    """Return the rows for which the oracle says yes, within the targets.

    The promise holds for every population and every score: a score that is worth nothing costs
    calls. From vectors, where there are any, a better one is learnt as answers come: rows that are
    asked by then are left out of what is sampled, so that the promise stays. Raises LimitError
    where the targets cannot be met with so many calls.
    """
    count = len(scores)
    asked = _Asked(oracle, max_calls, np.zeros(count, bool), np.zeros(count, bool))
    if count <= 2 * _PILOT:
        asked.ask(np.arange(count))
        return Filtered(asked.true.copy(), asked.calls)
    asked.ask(_pilot(np.argsort(-scores, kind="stable"), rng))
    _learn(scores, vectors, asked, targets, rng)
    for at, part in enumerate(_ROUNDS):
        ranked = rank(scores, vectors, asked.known, asked.true)
        order = np.argsort(-ranked.values, kind="stable")
        rest, first, last = _plan(ranked, order, asked, targets, part)
        numbers, delta = rng.random(len(rest)), part * (1 - targets.confidence)
        further = _REST if part is _ROUNDS[-1] else 0.0
        top = _End(rest[: first.place], first, (1 - _OF_RECALL) * delta, further, False,
                   numbers[: first.place])  # fmt: skip
        bottom = _End(rest[last.place :], last, _OF_RECALL * delta, further, True,
                      numbers[last.place :])  # fmt: skip
        asked.ask(rest[first.place : last.place])
        while True:
            asked.ask(np.concatenate([top.asked, bottom.asked]))
            found = _found(top, bottom, asked)
            found.rounds = at + 1
            found.learnt = ranked.learnt
            if found.precision >= targets.precision and found.recall >= targets.recall:
                return found
            if not further:
                break
            end = top if found.precision < targets.precision else bottom
            end.steps += 1
    raise AssertionError("an end that is asked in full has nothing wrong")


def _learn(
    scores: Scores,
    vectors: Vectors | None,
    asked: _Asked,
    targets: Targets,
    rng: np.random.Generator,
) -> None:
    """Ask some rows at a time of those between the ends, as long as less comes to be expected.

    They would have to be asked anyway; what they tell of rows that look like them is spared.
    """
    least, idle = np.inf, 0
    for _ in range(1 if vectors is None else _LESSONS):
        ranked = rank(scores, vectors, asked.known, asked.true)
        order = np.argsort(-ranked.values, kind="stable")
        rest, first, last = _plan(ranked, order, asked, targets, _ROUNDS[0])
        if vectors is None or not ranked.learnt:
            asked.ask(_second_pilot(order, (first, last), rng))
            idle += 1
        else:
            expected = asked.calls + first.asked(first.place) + last.asked(len(rest) - last.place)
            expected += last.place - first.place
            idle = 0 if expected < _PAYS * least else idle + 1
            least = min(least, expected)
        if idle >= _PATIENCE or last.place - first.place < _PILOT // 2:
            return
        if vectors is not None and ranked.learnt:
            middle = spread(rest[first.place : last.place], vectors, asked.known, _PILOT * 4 // 5)
            ends = [rng.permutation(end)[: _PILOT // 10] for end in
                    (rest[: first.place], rest[last.place :])]  # fmt: skip
            asked.ask(np.concatenate([np.array(middle, np.int64), *ends]))


def _second_pilot(order: Rows, cuts: Sequence[_Cut], rng: np.random.Generator) -> Rows:
    """Draw rows around the cuts that the first pilot suggests: what is asked there decides most."""
    first, last = (cut.place for cut in cuts)
    middle = max(last - first, _PILOT)
    parts = [order[first:last], order[last : last + middle], order[max(0, first - middle) : first]]
    return np.concatenate([rng.permutation(part)[: _PILOT // 3] for part in parts])


def _plan(
    ranked: RankedRows, order: Rows, asked: _Asked, targets: Targets, part: float
) -> tuple[Rows, _Cut, _Cut]:
    """Return the rows that are not known, the best first, and where their ends are cut."""
    rest, delta = order[~asked.known[order]], part * (1 - targets.confidence)
    chances, known = ranked.chances[rest], int(asked.true.sum())
    cuts = _planned(chances, known, targets, (1 - _OF_RECALL) * delta, _OF_RECALL * delta)
    return rest, *cuts


def expected_calls(count: float, targets: Targets) -> float:
    """Return about how many of so many rows are asked by a score that tells a tenth from the rest.

    An end has to be sampled so that what may be missed, were it there, would be seen.
    """
    may_miss = max(_MARGIN * (1 - targets.recall) * count / 10, 1e-9)
    chance = -log((1 - targets.confidence) * _OF_RECALL * _ROUNDS[0]) / may_miss
    return min(count, 2 * _PILOT + count * min(1.0, 0.05 + chance))


def _found(top: _End, bottom: _End, asked: _Asked) -> Filtered:
    """Return what passes by now, and what holds of it."""
    passes = asked.true.copy()
    taken = top.rows[~asked.known[top.rows]]
    passes[taken] = True
    right = float(passes.sum()) - top.most(asked)
    misses = bottom.most(asked)
    recall = right / (right + misses) if right + misses else 1.0
    precision = right / float(passes.sum()) if passes.any() else 1.0
    out = len(bottom.rows) - int(asked.known[bottom.rows].sum())
    steps = top.steps + bottom.steps
    return Filtered(passes, asked.calls, recall, precision, 0, steps, len(taken), out)


def _pilot(order: Rows, rng: np.random.Generator) -> Rows:
    """Draw as many rows from each part of a ranking."""
    cuts = [round(edge * len(order)) for edge in _EDGES]
    each = ceil(_PILOT / (len(cuts) - 1))
    parts = [order[start:stop] for start, stop in pairwise(cuts)]
    return np.concatenate([rng.permutation(part)[:each] for part in parts])


def _planned(
    chances: Scores, known: int, targets: Targets, of_top: float, of_bottom: float
) -> tuple[_Cut, _Cut]:
    """Choose both ends and their samples so that the least is asked, as far as is known."""
    count, expected = len(chances), known + float(chances.sum())
    below = np.append(np.cumsum(chances[::-1])[::-1], 0.0)  # yes, from each place on
    above = np.append(0.0, np.cumsum(1 - chances))  # no, before each place
    doubt = np.cumsum(np.sqrt(chances * (1 - chances)) + 1e-3)
    cuts = np.searchsorted(doubt, np.linspace(0, doubt[-1], _CUTS))
    cuts = np.unique(np.concatenate([cuts, np.linspace(0, count, _CUTS).astype(int)]))
    may_miss, may_err = (
        _MARGIN * (1 - each) * expected for each in (targets.recall, targets.precision)
    )
    last = _cut(cuts, count - cuts, below[cuts], may_miss, of_bottom) or _Cut(count)
    cuts = cuts[cuts <= last.place]
    first = _cut(cuts, cuts, above[cuts], may_err, of_top) or _Cut(0)
    return first, last


def _cut(cuts: Rows, sizes: Rows, wrong: Scores, allowed: float, delta: float) -> _Cut | None:
    """Return the cut that spares most, None where nothing is to be spared."""
    left, share = planned_rest(wrong[:, None], _CHANCES, delta)
    fits = (left <= allowed) & (wrong[:, None] < allowed)
    spared = np.where(fits, sizes[:, None] * (1 - _CHANCES), 0.0)
    cut, at = np.unravel_index(int(spared.argmax()), spared.shape)
    if spared[cut, at] <= 0:
        return None
    return _Cut(int(cuts[cut]), float(_CHANCES[at]), float(share[cut, at]))
