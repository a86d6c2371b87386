"""Of several scores, compute those that decide first, and the rest for the rows left."""

from engine.planner.logical import Filter, Plan, Score, transform
from engine.planner.predicates import reads, split


def cut_before_next_score(plan: Plan) -> Plan:
    """Split a Score whose filter needs only some of its matches."""
    return transform(plan, _split)


def _split(plan: Plan) -> Plan:
    if not isinstance(plan, Filter) or not isinstance(plan.source, Score):
        return plan
    score = plan.source
    names = {match.name for match in score.matches}
    needed = min((reads(part) & names for part in plan.predicates), key=len)
    if not needed or needed == names:
        return plan
    first, later = split(score.matches, lambda match: match.name in needed)
    early, late = split(plan.predicates, lambda part: reads(part) & names <= needed)
    rest = Score(Filter(Score(score.source, first), early), later)
    return Filter(rest, late) if late else rest
