"""Decode and embed only the GOPs that the wanted frames can lie in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlglot import exp

from engine.planner.joins import conjuncts
from engine.planner.logical import Detect, Embed, Filter, Plan, Scan, transform, walk
from engine.planner.predicates import reads, split

# seconds >= a holds only in GOPs that stop after a; seconds < b only in those that start before b
_BOUNDS: Final[Mapping[type[exp.Binary], tuple[type[exp.Binary], str]]] = {
    exp.GT: (exp.GT, "stop_seconds"),
    exp.GTE: (exp.GT, "stop_seconds"),
    exp.LT: (exp.LT, "start_seconds"),
    exp.LTE: (exp.LTE, "start_seconds"),
}
_MIRRORED: Final[Mapping[type[exp.Binary], type[exp.Binary]]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
}


def push_filter_below_embed(plan: Plan) -> Plan:
    """Move predicates on `video_id` below Embed and Detect; those on `seconds` bound the GOPs."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, (Embed, Detect)):
        return plan
    if isinstance(plan.source, Embed) and plan.source.count is not None:
        return plan
    below, above = split(plan.predicates, lambda predicate: reads(predicate) == {"video_id"})
    inner = plan.source.source
    filters = [node for node in walk(inner) if isinstance(node, (Filter, Scan))]
    known = {predicate for node in filters for predicate in node.predicates}
    found = [bound for bound in map(_bound, above) if bound is not None]
    bounds = tuple(part for bound in found for part in conjuncts(bound))
    fresh = tuple(bound for bound in (*below, *bounds) if bound not in known)
    if not fresh:
        return plan
    embed = replace(plan.source, source=Filter(inner, fresh))
    return Filter(embed, above) if above else embed


def _bound(predicate: exp.Expr) -> exp.Expr | None:
    """What must hold of a GOP for some frame in it to satisfy the predicate; None: nothing."""
    if reads(predicate) == {"video_id"}:
        return predicate.copy()
    match predicate:
        case exp.Paren():
            return _bound(predicate.this)
        case exp.And() | exp.Or():
            sides = [_bound(predicate.this), _bound(predicate.expression)]
            known = [side for side in sides if side is not None]
            if isinstance(predicate, exp.Or):
                return exp.or_(*known) if len(known) == 2 else None
            return exp.and_(*known) if known else None
        case exp.Between() if not predicate.args.get("symmetric"):
            low, high = predicate.args["low"], predicate.args["high"]
            parts = [(exp.GTE, predicate.this, low), (exp.LTE, predicate.this, high)]
        case exp.In() if predicate.expressions:
            found = [_all([(exp.EQ, predicate.this, item)]) for item in predicate.expressions]
            known = [bound for bound in found if bound is not None]
            return exp.or_(*known) if len(known) == len(found) else None
        case exp.EQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            parts = [(type(predicate), predicate.this, predicate.expression)]
        case _:
            return None
    return _all(parts)


def _all(parts: list[tuple[type[exp.Binary], exp.Expr, exp.Expr]]) -> exp.Expr | None:
    bounds = []
    for kind, left, right in parts:
        if _is_seconds(right):
            kind, left, right = _MIRRORED.get(kind, kind), right, left
        if not _is_seconds(left) or reads(right):
            return None
        kinds = (exp.GTE, exp.LTE) if kind is exp.EQ else (kind,)
        for one in kinds:
            compare, column = _BOUNDS[one]
            bounds.append(compare(this=exp.column(column), expression=right.copy()))
    return exp.and_(*bounds)


def _is_seconds(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and node.name.lower() == "seconds"
