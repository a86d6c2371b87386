"""From text to something that runs: parse, bind, check, optimise, lower."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import pyarrow as pa

from engine.cage.sandbox import Sandbox
from engine.errors import QueryError
from engine.operators.base import Context, Operator
from engine.planner.arrange import Reasons, arrange
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
from engine.planner.steps import has_choice
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
    planned: Planned
    key: Hashable | None
    max_rows: int
    timed: bool
    reasons: Reasons = ()  # why what is dear is computed in which order, by input

    def in_order(self, context: Context) -> "Prepared":
        """Return it with what is dear in the order that pays by what is known now."""
        if not self.planned.choice:
            return self
        found = arrange(self.planned.plan, context)
        if found.plan == self.planned.plan:
            return replace(self, reasons=found.reasons)

        def make() -> Planned:
            operator = Build(self.planned.columns, self.max_rows).operator(found.plan)
            return replace(self.planned, plan=found.plan, operator=operator, shown=show(found.plan))

        key = None if self.key is None else (self.key, found.order)
        arranged = _prepared(_PLANS.get(key, make), key, self.max_rows, timed=self.timed)
        return replace(arranged, reasons=found.reasons)


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

    key = None if parsed else key
    with nesting_bounded(sql), planning_bounded(sql):
        planned = _PLANS.get(key, plan)
        found = _prepared(planned, key, max_rows, timed=analyze)
    log.debug("planned in %.1f ms", 1e3 * (perf_counter() - started))
    return found


def _prepared(planned: Planned, key: Hashable | None, max_rows: int, *, timed: bool) -> Prepared:
    operator, timed = planned.operator, timed or planned.statement.explain == "analyze"
    if timed:
        operator = Build(planned.columns, max_rows, timed=True).operator(planned.plan)
    return Prepared(
        planned.statement,
        planned.plan,
        planned.rules,
        operator,
        planned.shown,
        planned,
        key,
        max_rows,
        timed,
    )


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
    choice = has_choice(plan)
    return Planned(statement, plan, tuple(rules), columns, operator, show(plan), choice)


def _check(statement: Statement, plan: Relational, sandbox: Sandbox) -> pa.Schema:
    """Let DuckDB bind the tail against empty inputs; point at what it does not know.

    A tail that only chooses, orders and names columns that there are needs no binding.
    """
    build = Build(pa.schema([]), 0)
    schemas = {item.name: build.operator(item.plan).schema for item in plan.inputs}
    if (plain := read_plain(plan.query, schemas)) is not None:
        return plain.schema
    try:
        return sandbox.check(plan.text, schemas)
    except QueryError as error:
        added = dict(statement.vocabulary.columns)
        raise in_users_text(error, statement.sql, added) from error
