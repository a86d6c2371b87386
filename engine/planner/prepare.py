"""From text to something that runs: parse, bind, check, optimise, lower."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pyarrow as pa
from sqlglot.errors import SqlglotError

from engine.cage.sandbox import Sandbox
from engine.errors import ParseError, QueryError
from engine.operators.base import Operator
from engine.planner.bind import bind
from engine.planner.bounds import nesting_bounded, planning_bounded
from engine.planner.exactness import settle
from engine.planner.explain import show
from engine.planner.logical import Relational
from engine.planner.lower import Build
from engine.planner.optimize import optimize
from engine.planner.parse import Statement, parse
from engine.planner.place import in_users_text
from engine.planner.plain import read_plain
from engine.planner.plans import Planned, Plans, key_of
from engine.storage.vocabulary import Vocabulary

log = logging.getLogger(__name__)
_PLANS = Plans()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement ready to run, with its plan and how that came about."""

    statement: Statement
    plan: Relational
    rules: tuple[str, ...]
    operator: Operator
    shown: str  # the plan as text


def prepare(
    sql: str,
    positional: Sequence[Any],
    named: Mapping[str, Any],
    sandbox: Sandbox,
    *,
    false_match_rate: float,
    max_rows: int,
    exact: bool | None = None,
    analyze: bool = False,
    vocabulary: Vocabulary | None = None,
    parsed: Statement | None = None,
) -> Prepared:
    """Plan a statement; whatever is wrong with it is said before anything is read.

    One that was `parsed` and changed since is planned each time.
    """
    started = perf_counter()
    key = key_of(sql, positional, named, false_match_rate, exact, max_rows, vocabulary)

    def plan() -> Planned:
        statement = parsed or parse(sql, positional, named, vocabulary)
        return _plan(statement, sandbox, false_match_rate, max_rows, exact)

    with nesting_bounded(sql), planning_bounded(sql):
        planned = _PLANS.get(None if parsed else key, plan)
        operator = planned.operator
        if analyze or planned.statement.explain == "analyze":
            operator = Build(planned.columns, max_rows, timed=True).operator(planned.plan)
    log.debug("planned in %.1f ms", 1e3 * (perf_counter() - started))
    return Prepared(planned.statement, planned.plan, planned.rules, operator, planned.shown)


def _plan(
    statement: Statement,
    sandbox: Sandbox,
    false_match_rate: float,
    max_rows: int,
    exact: bool | None,
) -> Planned:
    naive = bind(statement, false_match_rate=false_match_rate)
    columns = _check(statement, naive, sandbox)
    plan, rules = optimize(naive)
    assert isinstance(plan, Relational)
    if statement.options.get("exact", exact) is True:
        plan = settle(plan)
    operator = Build(columns, max_rows).operator(plan)
    return Planned(statement, plan, tuple(rules), columns, operator, show(plan))


def _check(statement: Statement, plan: Relational, sandbox: Sandbox) -> pa.Schema:
    """Let DuckDB bind the tail against empty inputs; point at what it does not know.

    A tail that only chooses, orders and names columns that there are needs no binding.
    """
    build = Build(pa.schema([]), 0)
    schemas = {item.name: build.operator(item.plan).schema for item in plan.inputs}
    if (plain := read_plain(plan.query, schemas)) is not None:
        return plain.schema
    try:
        return sandbox.check(_written(statement, plan), schemas)
    except QueryError as error:
        added = dict(statement.vocabulary.columns)
        raise in_users_text(error, statement.sql, added) from error


def _written(statement: Statement, plan: Relational) -> str:
    """Write the tail as DuckDB reads it; what was parsed but cannot be written is no statement."""
    try:
        return plan.query.sql("duckdb")
    except (ValueError, SqlglotError) as error:
        raise ParseError(f"cannot be run: {str(error).lower()}", sql=statement.sql) from error
