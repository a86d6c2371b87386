"""Rows that an inner join with a filtered relation will drop need not be read."""

from collections.abc import Callable
from dataclasses import replace

from engine.planner.logical import (
    Classify,
    Detect,
    Embed,
    Filter,
    Hold,
    Input,
    Judge,
    Overlap,
    Plan,
    Relational,
    Scan,
    SemiJoin,
    Shared,
    Spot,
    Tell,
    TellTexts,
    VideoAnswer,
    transform,
    walk,
)
from engine.planner.predicates import reads

_CATALOG = ("videos", "gops")

_ASKING = (VideoAnswer, Classify, Spot, Judge, Tell, TellTexts)  # a model, of each row that is left


def apply_joins(plan: Plan) -> Plan:
    """Turn joins with filtered relations into semi-joins of the inputs; others are forgotten.

    Videos that are asked a question, and clips whose actions are named, wait for the frames that
    are left of the statement's others.
    """
    return transform(plan, _apply)


def _apply(plan: Plan) -> Plan:
    if not isinstance(plan, Relational) or not (plan.joins or plan.spans):
        return plan
    plans = {item.name: item.plan for item in plan.inputs}
    for join in plan.joins:  # in their order: what restricts others is restricted first
        other = _without_answers(plans[join.right])
        if not _is_catalog(other):
            other = Shared(join.right)
        elif not _is_restricted(other):
            continue
        plans[join.left] = SemiJoin(plans[join.left], other, join.left_key, join.right_key)
    for span in plan.spans:
        if span.narrows == "spans":
            plans[span.spans] = Hold(plans[span.spans], Shared(span.frames), span.open_end)
            continue
        if span.narrows == "boxes":
            plans[span.spans] = _holding(plans[span.spans], Shared(span.frames))
            continue
        other = _without_answers(plans[span.spans])
        if _is_restricted(other):
            plans[span.frames] = _overlapping(plans[span.frames], other, open_end=span.open_end)
    inputs = [replace(item, plan=plans[item.name]) for item in plan.inputs]
    return replace(plan, inputs=_in_order(inputs), joins=(), spans=())


def _overlapping(plan: Plan, spans: Plan, *, open_end: bool) -> Plan:
    """Embed and look at only those GOPs that overlap some span."""
    return _narrowed(plan, lambda gops: Overlap(gops, spans, open_end))


def _holding(plan: Plan, frames: Plan) -> Plan:
    """Look at only those GOPs in which some frame is left."""
    return _narrowed(plan, lambda gops: Hold(gops, frames, open_end=True))


def _narrowed(plan: Plan, narrow: Callable[[Plan], Plan]) -> Plan:
    """Let what is made of GOPs be made of fewer."""

    def rewrite(node: Plan) -> Plan:
        if isinstance(node, (Embed, Detect)):
            return replace(node, source=narrow(node.source))
        return node

    return transform(plan, rewrite)


def _is_restricted(plan: Plan) -> bool:
    return any(
        isinstance(node, (Filter, SemiJoin)) or (isinstance(node, Scan) and node.predicates)
        for node in walk(plan)
    )


def _is_catalog(plan: Plan) -> bool:
    scans = [node.relation for node in walk(plan) if isinstance(node, Scan)]
    return isinstance(plan, (Filter, SemiJoin, Scan)) and all(name in _CATALOG for name in scans)


def _in_order(inputs: list[Input]) -> tuple[Input, ...]:
    """Put inputs that wait for others behind these, all else as it was."""
    ordered: list[Input] = []
    while len(ordered) < len(inputs):
        read = {item.name for item in ordered}
        left = [item for item in inputs if item.name not in read]
        ordered.append(next(item for item in left if _awaited(item) <= read))
    return tuple(ordered)


def _awaited(item: Input) -> set[str]:
    return {node.input for node in walk(item.plan) if isinstance(node, Shared)}


def _without_answers(plan: Plan) -> Plan:
    """The rows there are before a question is asked: more than will be left."""
    names = {node.name for node in walk(plan) if isinstance(node, _ASKING)}
    if not names:
        return plan

    def drop(node: Plan) -> Plan:
        if isinstance(node, _ASKING):
            return node.source
        if isinstance(node, Filter):
            kept = tuple(part for part in node.predicates if not reads(part) & names)
            return replace(node, predicates=kept) if kept else node.source
        return node

    return transform(plan, drop)
