"""Why a plan does not do what one might expect of it."""

from collections.abc import Iterator

from engine.planner.logical import Plan, Relational, Score, Search, walk


def not_done(plan: Plan) -> list[str]:
    """Return, a line each, the conditions that stay with DuckDB and the scores without an index."""
    if not isinstance(plan, Relational):
        return []
    lines = [f"not pushed: {said}" for said in plan.kept]
    for item in plan.inputs:
        lines += [
            f"index not used for {item.name}: {why}" for why in _without_index(plan, item.name)
        ]
    return lines


def _without_index(plan: Relational, name: str) -> Iterator[str]:
    """Say why all rows of an input are scored rather than the best searched for."""
    nodes = list(walk(next(item.plan for item in plan.inputs if item.name == name)))
    scores = [node for node in nodes if isinstance(node, Score)]
    if not scores or any(isinstance(node, Search) for node in nodes):
        return
    needed = [need for need in plan.needs if need.input == name and need.column]
    if not needed:
        yield "no ORDER BY score DESC LIMIT k says that few of its rows are needed"
    elif any(need.ties for need in needed):
        yield "rows that equal the last one count too, as more than the score orders them"
    elif sum(len(node.matches) for node in scores) > 1:
        yield "several texts are scored, and an index knows the best rows of one"
    else:
        yield "a condition on the score comes before the best rows are chosen"
