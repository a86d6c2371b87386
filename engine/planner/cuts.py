"""Comparisons of a score with constants: where they cut it, and which range of it they leave."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Final

from sqlglot import exp

from engine.planner.logical import Cut
from engine.search.scores import ScoreRange

MATCH: Final = "__match_"
_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ)
_ABOVE, _BELOW = (exp.GT, exp.GTE, exp.EQ), (exp.LT, exp.LTE, exp.EQ)


def cuts_of(node: exp.Expr) -> list[Cut]:
    """The values with which a comparison holds a score, where it does no more than that."""
    if isinstance(node, exp.Between):
        low, high = node.args["low"], node.args["high"]
        found = [_cut(node.this, low), _cut(node.this, high)]
    elif isinstance(node, _COMPARISONS):
        found = [_cut(node.this, node.expression) or _cut(node.expression, node.this)]
    else:
        return []
    return [cut for cut in found if cut] if all(found) else []


def ranges_of(predicates: Sequence[exp.Expr]) -> dict[str, ScoreRange]:
    """By the name of a score the range in which it lies wherever all predicates hold."""
    found: dict[str, ScoreRange] = {}
    for predicate in predicates:
        found = _both(found, _ranges(predicate))
    return found


def _ranges(node: exp.Expr) -> Mapping[str, ScoreRange]:
    match node:
        case exp.Paren():
            return _ranges(node.this)
        case exp.And():
            return _both(_ranges(node.this), _ranges(node.expression))
        case exp.Or():
            left, right = _ranges(node.this), _ranges(node.expression)
            return {name: left[name].or_in(right[name]) for name in left.keys() & right.keys()}
        case exp.Between() if not node.args.get("symmetric"):
            low = exp.GTE(this=node.this, expression=node.args["low"])
            high = exp.LTE(this=node.this, expression=node.args["high"])
            return _both(_ranges(low), _ranges(high))
        case exp.GT() | exp.GTE() | exp.LT() | exp.LTE() | exp.EQ():
            return {**_side(node, node.this, node.expression, turned=False),
                    **_side(node, node.expression, node.this, turned=True)}  # fmt: skip
        case _:
            return {}


def _side(
    node: exp.Expr, score: exp.Expr, value: exp.Expr, *, turned: bool
) -> dict[str, ScoreRange]:
    cut, line = _cut(score, value), _line(score)
    if cut is None or line is None or not isfinite(cut.value):
        return {}
    swapped = turned != (line[1] < 0)  # `0.3 < score`, or `-score > -0.3`
    above, below = (_BELOW, _ABOVE) if swapped else (_ABOVE, _BELOW)
    low = cut.value if isinstance(node, above) else -inf
    return {cut.name: ScoreRange(low, cut.value if isinstance(node, below) else inf)}


def _both(left: Mapping[str, ScoreRange], right: Mapping[str, ScoreRange]) -> dict[str, ScoreRange]:
    common = {name: left[name].and_in(right[name]) for name in left.keys() & right.keys()}
    return {**left, **right, **common}


def _cut(score: exp.Expr, value: exp.Expr) -> Cut | None:
    line, constant = _line(score), _line(value)
    if line is None or constant is None or not line[0] or constant[0] or not line[1]:
        return None
    name, scale, offset = line
    return Cut(name, (constant[2] - offset) / scale)


def _line(node: exp.Expr) -> tuple[str, float, float] | None:
    """`scale * score + offset`, as (score, scale, offset); a constant has no score."""
    if isinstance(node, exp.Paren):
        return _line(node.this)
    if isinstance(node, exp.Literal) and node.is_number:
        return "", 0.0, float(node.this)
    if isinstance(node, exp.Column):
        return (node.name, 1.0, 0.0) if node.name.startswith(MATCH) else None
    if isinstance(node, exp.Neg):
        inner = _line(node.this)
        return inner and (inner[0], -inner[1], -inner[2])
    if not isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Div)):
        return None
    left, right = _line(node.this), _line(node.expression)
    if left is None or right is None or (left[0] and right[0]):
        return None
    name = left[0] or right[0]
    if isinstance(node, (exp.Add, exp.Sub)):
        sign = 1.0 if isinstance(node, exp.Add) else -1.0
        return name, left[1] + sign * right[1], left[2] + sign * right[2]
    if isinstance(node, exp.Mul):
        factor, line = (left, right) if not left[0] else (right, left)
        return name, line[1] * factor[2], line[2] * factor[2]
    if right[0] or not right[2]:
        return None
    return name, left[1] / right[2], left[2] / right[2]
