"""Pre-filter: what does not depend on a score is decided before anything is scored."""

from dataclasses import replace

from engine.planner.logical import Answer, Filter, Plan, Score, transform
from engine.planner.predicates import reads, split


def push_filter_below_score(plan: Plan) -> Plan:
    """Move predicates that read none of the computed columns below Score and Answer."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, (Score, Answer)):
        return plan
    source = plan.source
    made = {match.name for match in source.matches} if isinstance(source, Score) else {source.name}
    above, below = split(plan.predicates, lambda predicate: bool(reads(predicate) & made))
    if not below:
        return plan
    inner = Filter(source.source, below)
    lowered: Plan = replace(source, source=inner)
    return Filter(lowered, above) if above else lowered
