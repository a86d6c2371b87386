"""Where it matters that a score is exact: near values that it is compared with, or everywhere.

With `exact = true` whatever depends on a score waits until it is certain. A score that is only ever
compared with constants must be exact near them alone. One that is shown, ordered by, aggregated or
compared with other columns must be exact wherever a row gets so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sqlglot import exp

from engine.planner.logical import (
    Answer,
    Cut,
    Filter,
    Limit,
    Match,
    Plan,
    Relational,
    Score,
    SemiJoin,
    Settle,
    Top,
)

_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ)
_MATCH = "__match_"


@dataclass(slots=True)
class Uses:
    """How expressions use scores: compared with values, and all else."""

    cuts: list[Cut] = field(default_factory=list)
    valued: set[str] = field(default_factory=set)

    def add(self, node: exp.Expr) -> None:
        """Note the uses in an expression or a whole statement."""
        covered: set[int] = set()
        for part in node.walk():
            found = _cuts(part)
            self.cuts += found
            if found:
                covered |= {id(column) for column in part.find_all(exp.Column)}
        for column in node.find_all(exp.Column):
            scored = column.name.startswith(_MATCH) and id(column) not in covered
            if scored and not _is_passed_on(column):
                self.valued.add(column.name)

    def merged(self, other: "Uses") -> "Uses":
        """Both together."""
        return Uses([*self.cuts, *other.cuts], self.valued | other.valued)


def settle(plan: Relational) -> Relational:
    """Say of every score in a plan where it must be exact."""
    tail = Uses()
    tail.add(plan.query)
    inputs = []
    for item in plan.inputs:
        inner = _mark(item.plan, Uses(tail.cuts))
        waiting = tuple(match for match in _open(inner) if match.name in tail.valued)
        inputs.append(replace(item, plan=Settle(inner, waiting) if waiting else inner))
    return replace(plan, inputs=tuple(inputs))


def _mark(plan: Plan, uses: Uses) -> Plan:
    """Mark the scores below, of which `uses` is made above."""
    match plan:
        case Filter(source, predicates):
            here = Uses()
            for predicate in predicates:
                here.add(predicate)
            return replace(plan, source=_mark(source, uses.merged(here)))
        case Top(source, column):
            return replace(plan, source=_mark(source, uses.merged(Uses([], {column}))))
        case Score(source, matches):
            names = {match.name for match in matches}
            cuts = tuple(dict.fromkeys(cut for cut in uses.cuts if cut.name in names))
            exact = bool(names & uses.valued)
            return replace(plan, source=_mark(source, uses), cuts=cuts, exact=exact)
        case SemiJoin(source) | Answer(source) | Limit(source):
            return replace(plan, source=_mark(source, uses))
        case _:  # what makes no scores, or makes its own exact
            return plan


def _open(plan: Plan) -> Iterator[Match]:
    """Yield the matches whose rows are not all made exact before."""
    match plan:
        case Score(source, matches):
            if not plan.exact:
                yield from matches
            yield from _open(source)
        case Filter(source) | Top(source) | SemiJoin(source) | Answer(source) | Limit(source):
            yield from _open(source)


def _is_passed_on(column: exp.Column) -> bool:
    """Whether a SELECT only hands a score to the one around it, or leaves it out of a star."""
    star = isinstance(column.parent, exp.Star)
    return star or (isinstance(column.parent, exp.Select) and column.arg_key == "expressions")


def _cuts(node: exp.Expr) -> list[Cut]:
    """The values with which a comparison holds a score, where it does no more than that."""
    if isinstance(node, exp.Between):
        low, high = node.args["low"], node.args["high"]
        found = [_cut(node.this, low), _cut(node.this, high)]
    elif isinstance(node, _COMPARISONS):
        found = [_cut(node.this, node.expression) or _cut(node.expression, node.this)]
    else:
        return []
    return [cut for cut in found if cut] if all(found) else []


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
        return (node.name, 1.0, 0.0) if node.name.startswith(_MATCH) else None
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
