"""The best rows by one score come out of a vector search; the others need not be scored."""

from engine.planner.logical import Plan, Score, Search, Top, transform


def search_for_top(plan: Plan) -> Plan:
    """Replace Top over the score of one match by a search."""
    return transform(plan, _replace)


def _replace(plan: Plan) -> Plan:
    if isinstance(plan, Top) and isinstance(plan.source, Score):
        score = plan.source
        if not plan.ties and len(score.matches) == 1 and score.matches[0].name == plan.column:
            return Search(score.source, score.matches[0], plan.count)
    return plan
