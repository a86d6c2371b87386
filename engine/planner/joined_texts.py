"""`JOIN texts t ON AI_JOIN(f.frame, t.text)`: the texts are asked for first, then listed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa
from sqlglot import exp

from engine.errors import BindError
from engine.planner.parse import Statement
from engine.planner.place import position_of
from engine.planner.texts import not_texts, rows_once

MOST_JOINED: Final = 1000
_NAME: Final = "ai_join"


def may_join_texts(sql: str) -> bool:
    """Whether a statement may join rows with texts by a model."""
    return _NAME in sql.lower()


def list_joined(statement: Statement, ask: Callable[[Statement], pa.Table]) -> Statement:
    """Return the statement with the texts of each AI_JOIN in it; `ask` runs a query for them.

    `AI_JOIN(f.frame, t.text)` becomes `list_contains(AI_JOIN(f.frame, ['a', 'b']), t.text)`.
    """
    if not any(_joins(statement.query)):
        return statement
    query = statement.query.copy()
    clause = query.args.get("with_")
    ctes = clause.expressions if clause else []
    for part in (*ctes, query):  # a CTE is asked for what stands before it
        for call in list(_joins(part)):
            column = call.expressions[1]
            before = len(ctes) if part is query else ctes.index(part)
            inner = exp.select(column.copy()).from_(_source(call, column, statement.sql))
            wanted = rows_once(inner, clause, before, MOST_JOINED)
            found = ask(replace(statement, query=wanted, explain="no"))
            if (wrong := not_texts(found, MOST_JOINED)) is not None:
                message = f"AI_JOIN takes at most {MOST_JOINED} texts; {column.sql()} gave {wrong}"
                raise BindError(message, sql=statement.sql, position=position_of(call))
            texts = found.column(0).drop_null().to_pylist()
            listed = exp.Array(expressions=[exp.Literal.string(text) for text in texts])
            asked = call.copy()
            asked.set("expressions", [call.expressions[0].copy(), listed, *asked.expressions[2:]])
            call.replace(exp.ArrayContains(this=asked, expression=column.copy()))
    return replace(statement, query=query)


def _joins(query: exp.Expr) -> Iterator[exp.Anonymous]:
    """Yield the calls of AI_JOIN whose texts are a column."""
    for call in query.find_all(exp.Anonymous):
        given = call.expressions
        if call.name.lower() == _NAME and len(given) > 1 and isinstance(given[1], exp.Column):
            yield call


def _source(call: exp.Anonymous, column: exp.Column, sql: str) -> exp.Expr:
    """Return what stands in FROM under the name before the texts' column."""
    select = call.find_ancestor(exp.Select)
    first = select.args.get("from_") if select else None
    joins = (select.args.get("joins") or []) if select else []
    sources = [part.this for part in (first, *joins) if part is not None]
    named = [each for each in sources if each.alias_or_name.lower() == column.table.lower()]
    if not column.table or len(named) != 1:
        said = "the texts of AI_JOIN are a column of a relation in FROM, by its name: t.text"
        raise BindError(said, sql=sql, position=position_of(call))
    found: exp.Expr = named[0].copy()
    return found
