"""Where it matters that a score is exact: near values that it is compared with, or everywhere.

With `exact = true` whatever depends on a score waits until it is certain. A score that is only ever
compared with constants must be exact near them alone. One that is shown, ordered by, aggregated or
compared with other columns must be exact wherever a row gets so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sqlglot import exp

from engine.planner.cuts import MATCH, cuts_of
from engine.planner.logical import (
    Cut,
    Filter,
    Judge,
    Limit,
    Plan,
    Relational,
    Score,
    SemiJoin,
    Settle,
    Spot,
    Tell,
    TellTexts,
    TextMatch,
    Top,
    VideoAnswer,
)
from engine.search.scores import Match


@dataclass(slots=True)
class Uses:
    """How expressions use scores: compared with values, and all else."""

    cuts: list[Cut] = field(default_factory=list)
    valued: set[str] = field(default_factory=set)

    def add(self, node: exp.Expr) -> None:
        """Note the uses in an expression or a whole statement."""
        covered: set[int] = set()
        for part in node.walk():
            found = cuts_of(part)
            self.cuts += found
            if found:
                covered |= {id(column) for column in part.find_all(exp.Column)}
        for column in node.find_all(exp.Column):
            scored = column.name.startswith(MATCH) and id(column) not in covered
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
        case (
            SemiJoin(source) | VideoAnswer(source) | Spot(source) | TextMatch(source)
            | Judge(source) | Tell(source) | TellTexts(source) | Limit(source)
        ):  # fmt: skip
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
        case (
            Filter(source) | Top(source) | SemiJoin(source) | VideoAnswer(source) | Spot(source)
            | TextMatch(source) | Judge(source) | Tell(source) | TellTexts(source) | Limit(source)
        ):  # fmt: skip
            yield from _open(source)


def _is_passed_on(column: exp.Column) -> bool:
    """Whether a SELECT only hands a score to the one around it, or leaves it out of a star."""
    star = isinstance(column.parent, exp.Star)
    return star or (isinstance(column.parent, exp.Select) and column.arg_key == "expressions")
