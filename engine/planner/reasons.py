"""Why a plan does not do what one might expect of it."""

from collections.abc import Iterator

from sqlglot import exp

from engine.planner.logical import (
    Filter,
    Judge,
    Plan,
    Relational,
    Scan,
    Score,
    Search,
    SemiJoin,
    walk,
)


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


def beyond_promise(plan: Plan) -> list[str]:
    """Return what drops frames of which AI_FILTER has already promised something."""
    judges = [node for node in walk(plan) if isinstance(node, Judge)]
    if not judges or not isinstance(plan, Relational):
        return []
    free = {
        item.name
        for item in plan.inputs
        if any(isinstance(node, Judge) for node in walk(item.plan))
        or all(_of_catalog(node) for node in walk(item.plan))
    }
    clause = plan.query.args.get("with_")
    for cte in clause.expressions if clause else ():
        free |= {cte.alias} if _names(cte) & free else set()
    found = list(plan.kept)
    for select in plan.query.find_all(exp.Select):
        joins, first = select.args.get("joins") or (), select.args.get("from_")
        for part in (first, *joins) if first and joins else ():
            source = part.this
            if not _names(source) & free:
                found.append(f"the join with {source.alias_or_name}")
    return [*found, "another AI_FILTER"] if len(judges) > 1 else found


def _of_catalog(node: Plan) -> bool:
    """Whether a node reads `videos` or `gops`, whose joins come before what is asked."""
    if isinstance(node, Scan):
        return node.relation in ("videos", "gops")
    return isinstance(node, (Filter, SemiJoin))


def _names(node: exp.Expr) -> set[str]:
    return {table.name for table in node.find_all(exp.Table)}


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
