"""Columns that functions add are the engine's own: no star, pattern or whole row shows them."""

from sqlglot import exp

from engine.errors import BindError
from engine.planner.block import FromItem, Scope, own_nodes
from engine.planner.place import position_of
from engine.planner.scope import Scopes

_PREFIX = "__"


def hide(scopes: Scopes, sql: str) -> None:
    """Exclude the functions' columns from stars, patterns and whole rows."""
    for block in scopes.blocks:
        for node in list(own_nodes(block.select)):
            if isinstance(node, exp.Star):
                _exclude(node, block)
            elif isinstance(node, exp.Columns):
                _narrow(node, block)
            elif isinstance(node, exp.Column) and not node.table:
                _as_row(node, block, sql)
            elif isinstance(node, exp.PositionalColumn) and _hidden(list(block.sources.values())):
                raise _error(node, "a column's position cannot be used beside a score", sql)
    for source in scopes.pivoted:
        if source.hidden:
            raise _error(source.node, "PIVOT takes a query of its own, not one that is scored", sql)


def _exclude(star: exp.Star, block: Scope) -> None:
    if isinstance(star.parent, exp.Count):
        return
    table = star.parent.table.lower() if isinstance(star.parent, exp.Column) else ""
    hidden = _hidden([source for source in block.shown if table in ("", source.alias)])
    if hidden:
        known = star.args.get("except_") or []
        star.set("except_", [*known, *(exp.column(name) for name in hidden)])


def _narrow(columns: exp.Columns, block: Scope) -> None:
    """`COLUMNS('pattern')` and `COLUMNS(lambda name: …)` choose among all names."""
    given = columns.this
    if not _hidden(block.shown) or isinstance(given, exp.Star):
        return
    if isinstance(given, exp.Literal):
        name = exp.to_identifier("name")
        chosen: exp.Expr = exp.Anonymous(this="regexp_matches", expressions=[name, given.copy()])
    elif isinstance(given, exp.Lambda):
        name, chosen = given.expressions[0], exp.paren(given.this.copy())
    else:
        return
    start = exp.Anonymous(
        this="starts_with", expressions=[name.copy(), exp.Literal.string(_PREFIX)]
    )
    both = exp.and_(chosen, exp.not_(start))
    columns.set("this", exp.Lambda(this=both, expressions=[name.copy()]))


def _as_row(column: exp.Column, block: Scope, sql: str) -> None:
    """The name of a source as a value is its whole row."""
    name, scope = column.name.lower(), block
    while scope is not None:
        if any(source.has(name) for source in scope.sources.values()):
            return
        source = scope.sources.get(name)
        if source is not None:
            break
        if scope.parent is None:
            return
        scope = scope.parent
    if source is None or not source.hidden:
        return
    if source.columns is None:
        raise _error(column, f"the columns of {name} are not known; name them", sql)
    fields = [
        exp.PropertyEQ(this=exp.to_identifier(item), expression=source.column(item))
        for item in source.columns
    ]
    row = exp.Struct(expressions=fields)
    if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
        column.replace(exp.alias_(row, column.name, quoted=True))
    else:
        column.replace(row)


def _hidden(sources: list[FromItem]) -> list[str]:
    return list(dict.fromkeys(name for source in sources for name in source.hidden))


def _error(node: exp.Expr, message: str, sql: str) -> BindError:
    return BindError(message, sql=sql, position=position_of(node))
