"""Saved views stand for their SELECTs: each place that reads one gets it as a derived table.

So whatever holds of derived tables holds of views: conditions are handed down into them, handles
come through them, and scores in them are exact where the statement asks for that.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlglot import exp

from engine.errors import ParseError
from engine.planner.bounds import MOST_OF
from engine.planner.grammar import as_select, tokens_of, trees_of
from engine.planner.relations import RELATIONS

OWN: Final = "own"  # marks a table of a view that is a relation, whatever CTEs stand around
_KEPT = ("joins", "laterals", "pivots", "sample")
_MOST_SELECTS = next(most for kind, most in MOST_OF.items() if kind.name == "SELECT")


def expand_views(query: exp.Query, views: Mapping[str, str], sql: str) -> exp.Query:
    """Put the SELECTs of views in the place of their names."""
    if not views:
        return query
    holder = exp.Subquery(this=query)
    _expand(holder, views, sql, (), [0])
    assert isinstance(holder.this, exp.Query)
    return holder.this.pop()


def parse_view(sql: str) -> exp.Query:
    """Parse the SELECT of a view; its nodes lie nowhere in the text of whoever reads it."""
    found = as_select(next(tree for tree in trees_of(tokens_of(sql), sql, sql) if tree is not None))
    assert isinstance(found, exp.Query)
    for node in found.walk():
        node.meta.clear()
        if isinstance(node, exp.Table) and not is_cte(node) and node.name.lower() in RELATIONS:
            node.meta[OWN] = True
    return found


def views_reached(sql: str, views: Mapping[str, str]) -> set[str]:
    """Return the views that a view's SELECT reads, by itself or through others."""
    found: set[str] = set()
    waiting = [sql]
    while waiting:
        names = {table.name.lower() for table in _tables(parse_view(waiting.pop()), views)}
        waiting += [views[name] for name in names - found]
        found |= names
    return found


def _expand(
    node: exp.Expr, views: Mapping[str, str], sql: str, within: tuple[str, ...], count: list[int]
) -> None:
    for table in list(_tables(node, views)):
        name = table.name.lower()
        if name in within:
            raise ParseError(f"view {name} reads itself", sql=sql)
        inner = parse_view(views[name])
        count[0] += sum(1 for _ in inner.find_all(exp.Select))
        if count[0] > _MOST_SELECTS:
            said = f"the statement's views have {count[0]} times SELECT; allowed: {_MOST_SELECTS}"
            raise ParseError(said, sql=sql)
        alias = table.args.get("alias")
        if alias is None or not alias.this:
            listed = None if alias is None else alias.args.get("columns")
            alias = exp.TableAlias(this=exp.to_identifier(table.name), columns=listed)
        derived = exp.Subquery(this=inner, alias=alias.copy())
        _expand(derived, views, sql, (*within, name), count)  # the view alone, not what is joined
        for part in _KEPT:
            if table.args.get(part):
                derived.set(part, table.args[part])
        table.replace(derived)


def _tables(node: exp.Expr, views: Mapping[str, str]) -> Iterator[exp.Table]:
    for table in node.find_all(exp.Table):
        plain = isinstance(table.this, exp.Identifier) and not table.args.get("db")
        if plain and table.name.lower() in views and not is_cte(table):
            yield table


def is_cte(table: exp.Table) -> bool:
    """Whether a name means a CTE of a query around it."""
    name = table.name.lower()
    child: exp.Expr = table
    node = table.parent
    while node is not None:
        clause = node.args.get("with_")
        if clause is not None and clause is not child:
            if any(cte.alias.lower() == name for cte in clause.expressions):
                return True
        elif isinstance(node, exp.With):
            place = next(i for i, cte in enumerate(node.expressions) if cte is child)
            seen = node.expressions[: place + bool(node.args.get("recursive"))]
            if any(cte.alias.lower() == name for cte in seen):
                return True
        child, node = node, node.parent
    return False
