"""What share of the rows passed which condition, and what calls took: learned from every query.

Kept beside the rates of decoding and encoding, by space. Later queries count more. A condition that
was never asked is judged by how rows of the store score, or taken to pass a third.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from engine.operators.base import Context
from engine.operators.condition import read_condition
from engine.planner.logical import Plan, Score, walk
from engine.planner.steps import Ask, asked_by
from engine.search.rates import WorkRates
from engine.search.scores import place_scores
from engine.search.work import Passed, Work

KEPT: Final = 1 / 3  # by a condition of which nothing is known
CALLS: Final = {  # seconds that one takes where nothing is known
    "answer": 0.05,  # a video
    "clip": 0.25,  # decoded and classified
    "look": 0.2,  # a frame, decoded and looked at
}
_FORGOTTEN = 0.7  # of what was known before, at each further query
_DOUBT = 2.0  # rows' worth of not knowing
_MOST = 256  # conditions that are remembered
_SAMPLE = 512  # rows
_MOVED = 0.2  # a share that moves less is not written again
_QUICK = 0.1  # seconds: what takes less and leaves no choice is not worth a note


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the rows that is expected to pass, and what that rests on."""

    value: float
    basis: str

    def __str__(self) -> str:
        return f"{100 * self.value:.3g} % expected to pass, {self.basis}"


@dataclass(frozen=True, slots=True)
class PassRates:
    """What is known of one space: rows and rows that passed by condition, seconds by call."""

    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calls: Mapping[str, WorkRates] = field(
        default_factory=lambda: {name: WorkRates(seconds) for name, seconds in CALLS.items()}
    )

    @classmethod
    def of(cls, context: Context) -> Self:
        """What was learned before this statement."""
        if not isinstance(context.passing, cls):
            context.passing = cls.load(context)
        return context.passing

    @classmethod
    def load(cls, context: Context) -> Self:
        """Read what was learned so far."""
        stored = context.store.catalog.calibration(context.space, "passing") or {}
        known = {name: (float(rows), float(kept)) for name, (rows, kept) in _part(stored, "passed")}
        told = dict(_part(stored, "calls"))
        calls = {n: WorkRates.of_json(unknown, told.get(n, {})) for n, unknown in CALLS.items()}
        return cls(known, calls)

    def keep(self, context: Context) -> None:
        """Store it."""
        calls = {name: rates.as_json() for name, rates in self.calls.items()}
        told = {"passed": {name: list(pair) for name, pair in self.known.items()}, "calls": calls}
        context.store.catalog.set_calibration(context.space, "passing", told)

    def share(self, name: str) -> Share | None:
        """What passes a condition, as far as queries have asked it."""
        if name not in self.known:
            return None
        rows, passed = self.known[name]
        return Share((passed + _DOUBT * KEPT) / (rows + _DOUBT), f"as of {rows:.0f} rows before")

    def noting(self, name: str, tested: Passed) -> "PassRates":
        """Return what is known after a query; the conditions asked longest ago are forgotten."""
        known = dict(self.known)
        rows, passed = known.pop(name, (0.0, 0.0))
        left = 1 - _FORGOTTEN
        known[name] = (left * rows + tested.rows, left * passed + tested.passed)
        return PassRates(dict(list(known.items())[-_MOST:]), self.calls)

    def taking(self, call: str, kind: str, count: int, seconds: float) -> "PassRates":
        """Return what is known after so many calls of one kind."""
        learned = self.calls[call].learn({kind: float(count)}, seconds)
        return PassRates(self.known, {**self.calls, call: learned})


def _part(stored: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    part = stored.get(name)
    return list(part.items()) if isinstance(part, dict) else []


def name_of(test: Ask, context: Context) -> str:
    """A condition with the models that decide it: another model is another condition."""
    spaces = [str(getattr(context, model)().space) for model in test.models]
    return " by ".join([test.text, *spaces])


def space_of(call: str, context: Context) -> str:
    """The space of what is called."""
    if call == "answer":
        return context.space
    return context.actions().space if call == "clip" else context.detections().space


def expected_share(rates: PassRates, test: Ask, plan: Plan, context: Context) -> Share:
    """What is expected to pass a Filter that asks this."""
    known = rates.share(name_of(test, context))
    return known or _sampled(plan, context) or Share(KEPT, "assumed")


def _sampled(plan: Plan, context: Context) -> Share | None:
    """The share of a sample of all stored rows of which conditions on their scores alone hold.

    EXPLAIN alone reads no vectors, so there it is not known.
    """
    if not context.reading.vectors or context.reading.view.rows is None:
        return None
    score = getattr(plan, "source", None)
    frames = context.reading.view.frames
    if not isinstance(score, Score) or not len(frames):
        return None
    schema = pa.schema([(match.name, pa.float64()) for match in score.matches])
    conditions = [read_condition(p.sql("duckdb"), schema) for p in getattr(plan, "predicates", ())]
    places = np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).astype(np.int64))
    scores = {m.name: pa.chunked_array([place_scores(context, m, places)]) for m in score.matches}
    holds = np.ones(len(places), bool)
    for condition in conditions:
        if condition is None:
            return None
        holds &= condition.holds(scores.__getitem__)
    passed = int(holds.sum()) + _DOUBT * KEPT
    return Share(passed / (len(places) + _DOUBT), f"as of {len(places)} stored rows")


def learn_passing(context: Context, plan: Plan, seconds: float, *, choice: bool) -> None:
    """Keep what a statement has shown of its conditions, where the next one may gain by it."""
    work = context.work
    called = _calls(work)
    if not called and not (work.tested and (choice or seconds >= _QUICK)):
        return
    rates = PassRates.load(context)
    before = rates
    for call, count, took in called:
        rates = rates.taking(call, space_of(call, context), count, took)
    for test in {test for node in walk(plan) if (test := asked_by(node)) is not None}:
        tested = work.tested.get(test.text)
        if tested is not None and tested.rows and _is_news(before, name_of(test, context), tested):
            rates = rates.noting(name_of(test, context), tested)
    if rates is not before:
        rates.keep(context)


def _is_news(rates: PassRates, name: str, tested: Passed) -> bool:
    """Whether what is known would change by more than a little."""
    known = rates.share(name)
    after = rates.noting(name, tested).share(name)
    if known is None or after is None:
        return True
    return abs(after.value - known.value) > _MOVED * min(known.value, 1 - known.value)


def _calls(work: Work) -> list[tuple[str, int, float]]:
    """The calls that were made, by their kind, with the seconds they took."""
    found = [
        ("answer", sum(w.asked for w in work.answers), sum(w.seconds for w in work.answers)),
        ("clip", sum(w.made for w in work.actions), sum(w.seconds for w in work.actions)),
        ("look", sum(w.frames for w in work.detections), sum(w.seconds for w in work.detections)),
    ]
    return [call for call in found if call[1] > 0 and call[2] > 0]
