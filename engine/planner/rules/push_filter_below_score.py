"""Pre-filter: what does not depend on a score is decided before anything is scored."""

from dataclasses import replace

from engine.planner.logical import (
    Classify,
    Filter,
    Judge,
    Plan,
    Predicates,
    Scan,
    Score,
    Spot,
    Tell,
    TellTexts,
    TextMatch,
    VideoAnswer,
    transform,
    walk,
)
from engine.planner.predicates import implied, reads, split


def push_filter_below_score(plan: Plan) -> Plan:
    """Move predicates that read none of the computed columns below what computes them.

    Of `score > 0.3 AND seconds < 5 OR seconds > 95` goes `seconds < 5 OR seconds > 95`.
    """
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(
        plan.source, (Score, VideoAnswer, Classify, Spot, TextMatch, Judge, Tell, TellTexts)
    ):
        return plan
    source = plan.source
    made = {match.name for match in source.matches} if isinstance(source, Score) else {source.name}
    above, below = split(plan.predicates, lambda predicate: bool(reads(predicate) & made))
    known = {part for node in walk(source.source) for part in _predicates(node)}
    parts = [part for predicate in above if (part := implied(predicate, made)) is not None]
    below += tuple(part for part in dict.fromkeys(parts) if part not in known)
    if not below:
        return plan
    inner = Filter(source.source, below)
    lowered: Plan = replace(source, source=inner)
    return Filter(lowered, above) if above else lowered


def _predicates(node: Plan) -> Predicates:
    return node.predicates if isinstance(node, (Filter, Scan)) else ()
