"""In which order what is dear is computed: by cost over the share of rows that it drops.

This is decided for each run of a statement, after its plan was looked up: what was measured last
counts. Conditions that are pushed to an input cannot fail and go by its rows one by one, so any
order gives the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any, TypeAlias

from engine.operators.base import Context
from engine.planner.logical import (
    Classify,
    Embed,
    Filter,
    Plan,
    Relational,
    Scan,
    Score,
    Spot,
    TextMatch,
    VideoAnswer,
    walk,
)
from engine.planner.passing import PassRates, Share, expected_share, space_of
from engine.planner.rules.search_within_range import search_within_range
from engine.planner.steps import (
    Chain,
    Maker,
    assemble,
    calls_of,
    chain_of,
    ready,
    test_of,
)

PRODUCT = 5e-10  # seconds of one multiplication and addition of a score
LINE = 1e-8  # look up what is said in one row's time
_ASKED = 8  # videos that are looked at for whether a question's answer is kept
_SHARED = (Classify, Spot)  # a model that looks once knows all labels

Order: TypeAlias = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One condition in its place: what it costs a row, what passes, and what that makes of it."""

    text: str
    seconds: float
    share: Share | None  # None: nothing is asked of what is computed
    rank: float | None  # None: it drops nothing

    @property
    def order(self) -> float:
        """What drops nothing comes last."""
        return inf if self.rank is None else self.rank

    def __str__(self) -> str:
        if self.share is None or self.rank is None:
            return f"{self.text} for the rows left"
        return f"{self.text} ({self.seconds:.2g} s a row, {self.share}: {self.rank:.2g})"


Reasons: TypeAlias = tuple[tuple[str, tuple[Ranked, ...]], ...]


@dataclass(frozen=True, slots=True)
class Arranged:
    """A plan in the order of its costs, and how that came about, by input."""

    plan: Relational
    order: Order  # the columns as they are made, of each chain
    reasons: Reasons


def arrange(plan: Relational, context: Context) -> Arranged:
    """Put everything that may be in another order by cost over 1 - the share that passes."""
    rates = PassRates.of(context)
    order: list[tuple[str, ...]] = []
    reasons: list[tuple[str, tuple[Ranked, ...]]] = []

    def visit(node: Plan, name: str) -> Plan:
        chain = chain_of(node)
        if chain is None:
            changed: dict[str, Any] = {
                part: visit(child, name)
                for part in ("source", "other")
                if (child := getattr(node, part, None)) is not None
            }
            return replace(node, **changed) if changed else node
        base = visit(chain.base, name)
        if not chain.is_choice:
            return _on(node, chain.base, base)
        ranked = list(_by_rank(replace(chain, base=base), rates, context))
        makers = tuple(maker for maker, _ in ranked)
        reasons.append((name, tuple(found for _, found in ranked)))
        order.append(tuple(column for maker in makers for column in calls_of(maker)))
        if makers == chain.makers:
            return _on(node, chain.base, base)
        return assemble(replace(chain, base=base), makers)

    inputs = [replace(item, plan=visit(item.plan, item.name)) for item in plan.inputs]
    changed = search_within_range(replace(plan, inputs=tuple(inputs)))
    assert isinstance(changed, Relational)
    return Arranged(changed, tuple(order), tuple(reasons))


def _on(node: Plan, base: Plan, other: Plan) -> Plan:
    """Put a plan upon another base."""
    if node is base:
        return other
    assert isinstance(node, (Filter, Maker))
    return replace(node, source=_on(node.source, base, other))


def _by_rank(chain: Chain, rates: PassRates, context: Context) -> Iterator[tuple[Maker, Ranked]]:
    """Yield what is to be computed next: of all that is left what drops most rows for its cost."""
    calls, names = chain.calls, set(chain.calls)
    left, asked = list(chain.makers), chain.predicates
    made: set[str] = set()
    looked: set[type] = set()
    costs = [_seconds(maker, chain.base, rates, context) for maker in left]
    while left:
        found = []
        for maker, cost in zip(left, costs, strict=True):
            own = calls_of(maker)
            now = ready(asked, made | own.keys(), names)
            seconds = 0.0 if type(maker) in looked else cost
            share = None
            if now:
                plan = Filter(replace(maker, source=chain.base), now)
                share = expected_share(rates, test_of(now, calls), plan, context)
            dropped = 0.0 if share is None else 1 - share.value
            text = test_of(now, calls).text if now else ", ".join(own.values())
            found.append(Ranked(text, seconds, share, seconds / dropped if dropped > 0 else None))
        best = min(range(len(left)), key=lambda at: found[at].order)
        maker = left.pop(best)
        costs.pop(best)
        made |= calls_of(maker).keys()
        asked = tuple(part for part in asked if part not in ready(asked, made, names))
        if isinstance(maker, _SHARED):
            looked.add(type(maker))
        yield maker, found[best]


def _seconds(maker: Maker, base: Plan, rates: PassRates, context: Context) -> float:
    """What a maker takes for one row."""
    match maker:
        case Score():
            return len(maker.matches) * context.reading.view.dimension * PRODUCT
        case TextMatch():
            return LINE
        case VideoAnswer():
            each = rates.calls["answer"].rate(context.space)
            return each * _share_to_ask(maker, context) / _rows_of_a_video(base, context)
        case Classify():
            return rates.calls["clip"].rate(space_of("clip", context))
        case Spot():
            return rates.calls["look"].rate(space_of("look", context))


def _share_to_ask(maker: VideoAnswer, context: Context) -> float:
    """The share of some videos whose answer to a question is not kept from before."""
    videos = context.reading.view.videos.column("video_id").to_pylist()
    some = videos[:: max(1, len(videos) // _ASKED)][:_ASKED]
    kept = sum(context.is_answered(video, maker.question, maker.choices) for video in some)
    return (len(some) - kept + 0.01) / (len(some) + 0.01)


def _rows_of_a_video(base: Plan, context: Context) -> float:
    """How many rows of an input there are for each video, that all ask the same of it."""
    relations = {node.relation for node in walk(base) if isinstance(node, Scan)}
    view = context.reading.view
    if relations <= {"videos"} or not view.videos.num_rows:
        return 1.0
    frames = any(isinstance(node, Embed) for node in walk(base)) or "frames" in relations
    rows = len(view.frames) if frames else view.gops.num_rows
    return max(1.0, rows / view.videos.num_rows)
