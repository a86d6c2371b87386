"""`moments((SELECT text FROM …))`: the texts are asked for first, then listed."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa
from sqlglot import exp

from engine.errors import BindError
from engine.planner.parse import Statement
from engine.planner.place import position_of

MOST_TEXTS: Final = 100
OF_COLUMN: Final = "texts of a column come as moments((SELECT text FROM …)) m, joined by m.text"
_NESTED = re.compile(r"\(\s*(?:\(|--|/\*)")  # a bracket in a bracket, or a comment before it


def may_ask_texts(sql: str) -> bool:
    """Whether a statement may hold a query in the brackets of `moments`."""
    return "moments" in sql.lower() and _NESTED.search(sql) is not None


def lists_texts(table: exp.Table) -> bool:
    """Whether `moments` is asked for a list of texts, each by itself."""
    given = table.this.expressions if isinstance(table.this, exp.Anonymous) else []
    return bool(given) and isinstance(given[0], exp.Array)


def list_texts(statement: Statement, ask: Callable[[Statement], pa.Table]) -> Statement:
    """Return the statement with the texts in place of each query; `ask` runs one for them."""
    if not any(_asked(statement.query)):
        return statement
    query = statement.query.copy()
    clause = query.args.get("with_")
    ctes = clause.expressions if clause else []
    for part in (*ctes, query):  # a CTE is asked for what stands before it
        for node in list(_asked(part)):
            wanted = _texts_of(node, clause, len(ctes) if part is query else ctes.index(part))
            found = ask(replace(statement, query=wanted, explain="no"))
            texts = found.column(0).drop_null().to_pylist()
            if (wrong := not_texts(found, MOST_TEXTS)) is not None:
                message = f"moments takes at most {MOST_TEXTS} texts; its query gave {wrong}"
                raise BindError(message, sql=statement.sql, position=position_of(node))
            node.replace(exp.Array(expressions=[exp.Literal.string(text) for text in texts]))
    return replace(statement, query=query)


def not_texts(found: pa.Table, most: int) -> str | None:
    """What makes the rows of a query no texts."""
    if found.num_columns != 1:
        return f"{found.num_columns} columns"
    texts = found.column(0).drop_null().to_pylist()
    if len(texts) > most:
        return "more"
    others = (repr(text) for text in texts if not isinstance(text, str) or not text.strip())
    return next(others, None)


def _asked(query: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the queries in the brackets of `moments`."""
    for table in query.find_all(exp.Table):
        call = table.this
        if isinstance(call, exp.Anonymous) and call.name.lower() == "moments" and call.expressions:
            first = call.expressions[0]
            if isinstance(first, exp.Query):
                yield first


def _texts_of(node: exp.Expr, clause: exp.With | None, before: int) -> exp.Query:
    """The rows of a query, each once, with so many CTEs of the statement."""
    inner = node.this if isinstance(node, exp.Subquery) else node
    return rows_once(inner, clause, before, MOST_TEXTS)


def rows_once(inner: exp.Expr, clause: exp.With | None, before: int, most: int) -> exp.Query:
    """Return the rows of a query, each once, with so many CTEs; two more than `most` at most."""
    named = exp.TableAlias(this=exp.to_identifier("t"))
    source = exp.Subquery(this=inner.copy(), alias=named)
    texts = exp.select("*").distinct().from_(source).order_by("1").limit(most + 2)
    if clause and before:
        kept = clause.copy()
        kept.set("expressions", kept.expressions[:before])
        texts.set("with_", kept)
    return texts
