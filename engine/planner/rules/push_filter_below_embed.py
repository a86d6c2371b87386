"""Decode and embed only the GOPs that the wanted frames can lie in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias, TypeGuard

from sqlglot import exp

from engine.planner.instants import instant_of, period_of, rising
from engine.planner.joins import conjuncts
from engine.planner.logical import (
    Detect,
    Embed,
    Filter,
    Hold,
    Overlap,
    Plan,
    Scan,
    SemiJoin,
    transform,
    walk,
)
from engine.planner.predicates import reads, split

Comparison: TypeAlias = type[exp.Binary]

_MIRRORED: Final[Mapping[Comparison, Comparison]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
}
_SPANS: Final = {"seconds": ("start_seconds", "stop_seconds"), "at": ("start_at", "stop_at")}


def push_filter_below_embed(plan: Plan) -> Plan:
    """Move predicates on `video_id` below Embed and Detect; on `seconds` or `at` bound the GOPs."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, (Embed, Detect)):
        return plan
    made = plan.source
    if isinstance(made, Embed) and made.count is not None and not made.predicates:
        return plan  # of fewer GOPs other frames would be the first
    below, above = split(plan.predicates, lambda predicate: reads(predicate) == {"video_id"})
    inner = plan.source.source
    filters = [node for node in walk(inner) if isinstance(node, (Filter, Scan))]
    known = {predicate for node in filters for predicate in node.predicates}
    found = [bound for bound in map(_bound, above) if bound is not None]
    bounds = tuple(part for bound in found for part in conjuncts(bound))
    fresh = tuple(bound for bound in (*below, *bounds) if bound not in known)
    if not fresh:
        return plan
    if any(reads(bound) & set(_SPANS["at"]) for bound in fresh):
        inner = _timed(inner)
    embed = replace(plan.source, source=Filter(inner, fresh))
    return Filter(embed, above) if above else embed


def _timed(gops: Plan) -> Plan:
    """Let it be known when the GOPs were recorded."""
    if isinstance(gops, Scan):
        return replace(gops, timed=True)
    assert isinstance(gops, (Filter, SemiJoin, Overlap, Hold))
    return replace(gops, source=_timed(gops.source))


def _bound(predicate: exp.Expr) -> exp.Expr | None:
    """What must hold of a GOP for some frame in it to satisfy the predicate; None: nothing."""
    if reads(predicate) == {"video_id"}:
        return predicate.copy()
    if (period := _period(predicate)) is not None:
        return _at_an_end(predicate, period)
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


def _all(parts: list[tuple[Comparison, exp.Expr, exp.Expr]]) -> exp.Expr | None:
    bounds: list[exp.Expr] = []
    for kind, one, other in parts:
        left, right = one.unnest(), other.unnest()
        if _time(right) is not None:
            kind, left, right = _MIRRORED.get(kind, kind), right, left
        time = _time(left)
        if time is None or reads(right):
            return None
        kinds = (exp.GTE, exp.LTE) if kind is exp.EQ else (kind,)
        bounds += [_side(each, left, time, right) for each in kinds]
    return exp.and_(*bounds)


def _side(kind: Comparison, left: exp.Expr, time: exp.Column, right: exp.Expr) -> exp.Expr:
    """What a comparison with a frame's time says of the span of its GOP: `[start, stop)`."""
    start, stop = (exp.column(name) for name in _SPANS[time.name.lower()])
    if kind in (exp.LT, exp.LTE):
        return kind(this=_put(left, start), expression=right.copy())
    if left is time:
        return exp.GT(this=stop, expression=right.copy())
    return kind(this=_put(left, _last()), expression=right.copy())


def _last() -> exp.Expr:
    """The last instant of a GOP."""
    moment = exp.Interval(this=exp.Literal.string("1 microsecond"))
    return exp.Sub(this=exp.column(_SPANS["at"][1]), expression=moment)


def _put(node: exp.Expr, value: exp.Expr) -> exp.Expr:
    """Put a value in the place of the time that an expression reads."""
    return node.copy().transform(lambda part: value if isinstance(part, exp.Column) else part)


def _time(node: exp.Expr) -> exp.Column | None:
    """The time of a frame that is compared: `seconds`, `at`, or its day, hour or year."""
    if isinstance(node, exp.Column):
        return node if node.name.lower() in _SPANS else None
    instant = rising(node)
    return instant if _is_at(instant) else None


def _is_at(node: exp.Expr | None) -> TypeGuard[exp.Column]:
    return isinstance(node, exp.Column) and node.name.lower() == "at"


def _period(predicate: exp.Expr) -> int | None:
    """For how long a comparison of a part of `at`, as its hour, certainly stays as it is."""
    match predicate:
        case exp.Between() | exp.In() if not predicate.args.get("query"):
            sides = [predicate.this]
        case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            sides = [predicate.this, predicate.expression]
        case _:
            return None
    parts = [side.unnest() for side in sides if _is_at(instant_of(side.unnest()))]
    if len(parts) != 1 or len(list(predicate.find_all(exp.Column))) != 1:
        return None
    return period_of(parts[0])


def _at_an_end(predicate: exp.Expr, period: int) -> exp.Expr:
    """What holds of some frame holds of the GOP's first instant or its last, if it is not long."""
    start, stop = (exp.column(name) for name in _SPANS["at"])
    length = exp.Interval(this=exp.Literal.string(f"{period} seconds"))
    long = exp.GTE(this=exp.Sub(this=stop, expression=start.copy()), expression=length)
    return exp.or_(_put(predicate, start), _put(predicate, _last()), long)
