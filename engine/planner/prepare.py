"""From text to something that runs: parse, bind, check, optimise, lower."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from time import perf_counter
from typing import Any

import pyarrow as pa

from engine.cage.sandbox import Sandbox
from engine.errors import BindError
from engine.operators.base import Operator
from engine.planner.bind import bind
from engine.planner.logical import Relational
from engine.planner.lower import Build
from engine.planner.optimize import optimize
from engine.planner.parse import Statement, parse
from engine.planner.relations import FORMS, RELATIONS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement ready to run, with its plan and how that came about."""

    statement: Statement
    plan: Relational
    rules: tuple[str, ...]
    operator: Operator


def prepare(
    sql: str,
    positional: Sequence[Any],
    named: Mapping[str, Any],
    sandbox: Sandbox,
    *,
    false_match_rate: float,
    max_rows: int,
    analyze: bool = False,
) -> Prepared:
    """Plan a statement; whatever is wrong with it is said before anything is read."""
    started = perf_counter()
    statement = parse(sql, positional, named)
    naive = bind(statement, false_match_rate=false_match_rate)
    columns = _check(statement, naive, sandbox)
    plan, rules = optimize(naive)
    assert isinstance(plan, Relational)
    timed = analyze or statement.explain == "analyze"
    operator = Build(columns, max_rows, timed).operator(plan)
    log.debug("planned in %.1f ms", 1e3 * (perf_counter() - started))
    return Prepared(statement, plan, tuple(rules), operator)


def _check(statement: Statement, plan: Relational, sandbox: Sandbox) -> pa.Schema:
    """Let DuckDB bind the tail against empty inputs; point at what it does not know."""
    build = Build(pa.schema([]), 0)
    schemas = {item.name: build.operator(item.plan).schema for item in plan.inputs}
    try:
        return sandbox.check(plan.query.sql("duckdb"), schemas)
    except BindError as error:
        raise _locate(str(error), statement.sql) from error


def _locate(message: str, sql: str) -> BindError:
    """Find the name that DuckDB complains of in the text, and the nearest that exists."""
    quoted = re.search(
        r'(?:column|table|named|name) "?([\w.]+)"?(?: not found| does not exist|$)', message
    )
    quoted = quoted or re.search(r'"(\w+)"', message)
    if quoted is None:
        return BindError(message, sql=sql)
    name = quoted[1].rsplit(".", 1)[-1]
    found = re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE)
    known = [column for schema in RELATIONS.values() for column in schema.names]
    near = get_close_matches(name.lower(), {*known, *RELATIONS, *FORMS}, n=1)
    text = message.split(" Candidate ")[0].split(" Did you mean ")[0].rstrip("!")
    text = text[:1].lower() + text[1:]
    text += f"; nearest: {near[0]}" if near and near[0] != name.lower() else ""
    return BindError(text, sql=sql, position=found.start() if found else None)
