"""PIVOT without IN: the values are asked for first, then listed."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from engine.errors import BindError
from engine.planner.parse import Statement
from engine.planner.place import position_of

MOST_VALUES = 1000  # of one column: each becomes a column of the answer


def list_values(statement: Statement, ask: Callable[[Statement], pa.Table]) -> Statement:
    """Return the statement with IN after each ON of its PIVOTs; `ask` runs one."""
    if not any(_unlisted(statement.query)):
        return statement
    query = statement.query.copy()
    for pivot, on in list(_unlisted(query)):
        if pivot.find_ancestor(exp.Lateral):
            raise _error(statement, on, "PIVOT in LATERAL needs its values: ON column IN (…)")
        found = ask(replace(statement, query=_values_of(query, pivot, on), explain="no"))
        values = found.column(0).to_pylist()
        if len(values) > MOST_VALUES:
            said = f"PIVOT ON {on.sql('duckdb')} has more than {MOST_VALUES} values; list some"
            raise _error(statement, on, f"{said} with IN (…)")
        if not values:
            raise _error(statement, on, f"PIVOT ON {on.sql('duckdb')} has no value; list them")
        texts = [exp.Literal.string(value) for value in values]
        whole = on.copy() if isinstance(on, (exp.Column, exp.Paren)) else exp.paren(on.copy())
        on.replace(exp.In(this=whole, expressions=texts))
    return replace(statement, query=query)


def _unlisted(query: exp.Expr) -> Iterator[tuple[exp.Pivot, exp.Expr]]:
    """Yield each PIVOT with what stands in its ON without IN."""
    for pivot in query.find_all(exp.Pivot):
        if pivot.this is not None and not pivot.args.get("unpivot"):
            yield from ((pivot, on) for on in pivot.expressions if not isinstance(on, exp.In))


def _values_of(query: exp.Query, pivot: exp.Pivot, on: exp.Expr) -> exp.Query:
    """The values of an ON as texts, in their order, as DuckDB lists them."""
    text = exp.Cast(this=on.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
    there = exp.Not(this=exp.Is(this=on.copy(), expression=exp.null()))
    texts = exp.select(exp.alias_(text, "v")).distinct().from_(pivot.this.copy()).where(there)
    texts = texts.order_by("1").limit(MOST_VALUES + 1)
    if query.args.get("with_"):
        texts.set("with_", query.args["with_"].copy())
    return texts


def _error(statement: Statement, node: exp.Expr, message: str) -> BindError:
    return BindError(message, sql=statement.sql, position=position_of(node))
