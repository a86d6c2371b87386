"""Where a score is compared with a fixed value, being exact matters near that value alone."""

from dataclasses import replace

from sqlglot import exp

from engine.planner.logical import Cut, Filter, Plan, Score, transform

_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE)


def mark_cuts(plan: Plan) -> Plan:
    """Tell a Score the values with which the filter above compares its matches."""
    return transform(plan, _mark)


def _mark(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, Score):
        return plan
    score = plan.source
    names = {match.name for match in score.matches}
    cuts = tuple(
        Cut(part.this.name, float(part.expression.this))
        for predicate in plan.predicates
        for part in predicate.find_all(*_COMPARISONS)
        if isinstance(part.this, exp.Column)
        and part.this.name in names
        and isinstance(part.expression, exp.Literal)
        and part.expression.is_number
    )
    return replace(plan, source=replace(score, cuts=tuple(dict.fromkeys(cuts))))
