"""Rows that an inner join with a filtered relation will drop need not be read."""

from dataclasses import replace

from engine.planner.logical import (
    Answer,
    Classify,
    Embed,
    Filter,
    Hold,
    Input,
    Overlap,
    Plan,
    Relational,
    Scan,
    SemiJoin,
    Shared,
    transform,
    walk,
)
from engine.planner.predicates import reads

_CATALOG = ("videos", "gops")


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
        other = _without_answers(plans[span.spans])
        if _is_restricted(other):
            plans[span.frames] = _overlapping(plans[span.frames], other, open_end=span.open_end)
    inputs = [replace(item, plan=plans[item.name]) for item in plan.inputs]
    return replace(plan, inputs=tuple(sorted(inputs, key=_waits)), joins=(), spans=())


def _overlapping(plan: Plan, spans: Plan, *, open_end: bool) -> Plan:
    """Embed only those GOPs that overlap some span."""

    def narrow(node: Plan) -> Plan:
        if isinstance(node, Embed):
            return replace(node, source=Overlap(node.source, spans, open_end))
        return node

    return transform(plan, narrow)


def _is_restricted(plan: Plan) -> bool:
    return any(
        isinstance(node, (Filter, SemiJoin)) or (isinstance(node, Scan) and node.predicates)
        for node in walk(plan)
    )


def _is_catalog(plan: Plan) -> bool:
    scans = [node.relation for node in walk(plan) if isinstance(node, Scan)]
    return isinstance(plan, (Filter, SemiJoin, Scan)) and all(name in _CATALOG for name in scans)


def _waits(item: Input) -> bool:
    return any(isinstance(node, Shared) for node in walk(item.plan))


def _without_answers(plan: Plan) -> Plan:
    """The rows there are before a question is asked: more than will be left."""
    names = {node.name for node in walk(plan) if isinstance(node, (Answer, Classify))}
    if not names:
        return plan

    def drop(node: Plan) -> Plan:
        if isinstance(node, (Answer, Classify)):
            return node.source
        if isinstance(node, Filter):
            kept = tuple(part for part in node.predicates if not reads(part) & names)
            return replace(node, predicates=kept) if kept else node.source
        return node

    return transform(plan, drop)
