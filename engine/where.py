"""Which videos meet a condition on their columns, users' columns included."""

import numpy as np
from numpy.typing import NDArray
from sqlglot import exp

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, ParseError, QueryError
from engine.operators.condition import read_condition
from engine.operators.scan import as_caller_sees
from engine.planner.bounds import nesting_bounded
from engine.planner.parse import parse
from engine.planner.place import in_users_text
from engine.planner.relations import FORMS, schema_of
from engine.planner.safety import check_safe
from engine.storage.store import Store

_BEFORE = "SELECT 1 FROM videos WHERE ("


def videos_where(store: Store, sandbox: Sandbox, condition: str) -> NDArray[np.int64]:
    """Return the ids of the videos that meet a condition, an expression of SQL, by id.

    >>> videos_where(store, sandbox, "camera = 'north' AND recorded_at >= '2026-03-01'")
    """
    columns = store.catalog.vocabulary().columns
    schema = schema_of("videos", columns)
    with nesting_bounded(condition):
        predicate = _read(condition).sql("duckdb")
        rows = as_caller_sees(store.catalog.video_table()).select(schema.names).cast(schema)
        test = read_condition(predicate, schema)
    if test is not None:
        chosen = test.holds(rows.column)
    else:
        try:
            found = sandbox.filter(rows, [predicate])
            return np.sort(found.column("video_id").to_numpy())
        except QueryError as error:
            raise in_users_text(error, condition, dict(columns)) from error
    ids: NDArray[np.int64] = rows.column("video_id").to_numpy()[chosen]
    return ids


def _read(condition: str) -> exp.Expr:
    """Parse a condition; an error shows its place in it."""
    try:
        statement = parse(f"{_BEFORE}{condition}\n)")
        check_safe(statement)
    except QueryError as error:
        place = None if error.position is None else max(0, error.position - len(_BEFORE))
        raise type(error)(str(error), sql=condition, position=place) from error
    query = statement.query
    where = query.args.get("where")
    parts = {name for name, value in query.args.items() if value}
    if (
        where is None
        or not isinstance(where.this, exp.Paren)
        or parts > {"expressions", "from_", "where"}
    ):
        raise ParseError("expected one condition on columns of videos", sql=condition)
    for node in where.this.walk():
        ours = isinstance(node, exp.Anonymous) and node.name.lower() in FORMS
        if ours or isinstance(node, (exp.Query, exp.Table, exp.AggFunc, exp.Window)):
            raise BindError("a condition reads columns of videos alone", sql=condition)
    return where.this.this.copy()
