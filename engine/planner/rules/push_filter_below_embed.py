"""Decode and embed only the GOPs that the wanted frames can lie in."""

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from engine.planner.logical import Embed, Filter, Plan, Scan, transform, walk
from engine.planner.predicates import reads, split

# seconds >= a holds only in GOPs that stop after a; seconds < b only in those that start before b
_BOUNDS: Final[Mapping[type[exp.Expr], tuple[type[exp.Binary], str]]] = {
    exp.GT: (exp.GT, "stop_seconds"),
    exp.GTE: (exp.GT, "stop_seconds"),
    exp.LT: (exp.LT, "start_seconds"),
    exp.LTE: (exp.LTE, "start_seconds"),
}
_MIRRORED: Final[Mapping[type[exp.Expr], type[exp.Binary]]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
}


def push_filter_below_embed(plan: Plan) -> Plan:
    """Move predicates on `video_id` below Embed, and bound the GOPs by those on `seconds`."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, Embed):
        return plan
    below, above = split(plan.predicates, lambda predicate: reads(predicate) == {"video_id"})
    inner = plan.source.source
    filters = [node for node in walk(inner) if isinstance(node, (Filter, Scan))]
    known = {predicate for node in filters for predicate in node.predicates}
    bounds = tuple(bound for predicate in above for bound in _bounds(predicate))
    fresh = tuple(bound for bound in (*below, *bounds) if bound not in known)
    if not fresh:
        return plan
    embed = Embed(Filter(inner, fresh))
    return Filter(embed, above) if above else embed


def _bounds(predicate: exp.Expr) -> list[exp.Expr]:
    """What must hold of a GOP for some frame in it to satisfy the predicate."""
    if isinstance(predicate, exp.Between) and _is_seconds(predicate.this):
        low, high = predicate.args["low"], predicate.args["high"]
        return [
            *_bounds(exp.GTE(this=predicate.this, expression=low)),
            *_bounds(exp.LTE(this=predicate.this, expression=high)),
        ]
    kind: type[exp.Expr] = type(predicate)
    if kind not in _BOUNDS:
        return []
    left, right = predicate.this, predicate.expression
    if _is_seconds(right):
        left, right, kind = right, left, _MIRRORED[kind]
    if not _is_seconds(left) or reads(right):
        return []
    compare, column = _BOUNDS[kind]
    return [compare(this=exp.column(column), expression=right.copy())]


def _is_seconds(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and node.name.lower() == "seconds"
