"""A SQL statement's story: prepare, run, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import pyarrow as pa

from engine.errors import QueryError
from engine.operators.base import Context, read_table
from engine.planner.explain import explain_text, show
from engine.planner.place import in_users_text
from engine.planner.prepare import Prepared, prepare
from engine.search.work import Work


@dataclass(frozen=True, slots=True)
class Completeness:
    """What an answer rests on.

    `complete`: all frames that it asks about were embedded. `exact`: equal to a full scan over
    dense vectors of the frames there are; approximate rows that could matter were made exact.
    """

    complete: bool
    exact: bool
    embedded: int  # frames embedded for it
    refined: int  # approximate rows made exact for it
    inexact: int  # approximate rows on which it rests
    missing_seconds: float  # of video that was to be embedded and was not
    budget: bool  # whether a budget ended something first

    @classmethod
    def of_work(cls, work: Work) -> "Completeness":
        """Read it off what was done."""
        whole = all(item.complete for item in work.embedded) and not work.missing_seconds
        settled = all(item.complete for item in work.refined)
        return cls(
            complete=whole,
            exact=settled and not work.approximate and not work.inexact,
            embedded=sum(item.frames for item in work.embedded),
            refined=sum(item.rows for item in work.refined),
            inexact=work.inexact,
            missing_seconds=work.missing_seconds,
            budget=not (whole and settled),
        )


@dataclass(frozen=True, slots=True)
class SqlResult:
    """The rows of a statement, and how they came about.

    The table's schema holds the coverage too, as JSON under `dejavu.coverage`.
    """

    table: pa.Table
    explain: str  # the plan; after EXPLAIN ANALYZE or `analyze`, with what really happened
    work: Work
    seconds: float
    coverage: Completeness

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self.table

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        listed: list[dict[str, Any]] = self.table.to_pylist()
        return listed


def run_sql(
    context: Context,
    sql: str,
    positional: Sequence[Any] = (),
    named: Mapping[str, Any] = {},
    *,
    max_rows: int,
    explain: bool = False,
    analyze: bool = False,
) -> SqlResult:
    """Run a statement; EXPLAIN, or `explain`, returns its plan as rows and reads nothing."""
    started = perf_counter()
    prepared = prepare(
        sql,
        positional,
        named,
        context.sandbox,
        false_match_rate=context.options.false_match_rate,
        max_rows=max_rows,
        exact=context.options.exact,
        analyze=analyze,
    )
    options = context.options.override(prepared.statement.options)
    context = replace(context, options=options)
    analyze = analyze or prepared.statement.explain == "analyze"
    shown = explain or prepared.statement.explain != "no"
    if shown and not analyze:
        text = explain_text(prepared.plan, prepared.rules, context)
        return _result(_lines(text), text, context, started)
    table = _run(prepared, context)
    seconds = perf_counter() - started
    if not shown and not analyze:
        return _result(table, show(prepared.plan), context, started)
    text = explain_text(prepared.plan, prepared.rules, context, analyzed=seconds)
    return _result(_lines(text), text, context, started)


def _run(prepared: Prepared, context: Context) -> pa.Table:
    sql = prepared.statement.sql
    try:
        return read_table(prepared.operator, context)
    except QueryError as error:
        raise in_users_text(error, sql) from error


def _lines(text: str) -> pa.Table:
    return pa.table({"explain": text.splitlines()})


def _result(table: pa.Table, text: str, context: Context, started: float) -> SqlResult:
    coverage = Completeness.of_work(context.work)
    told = {**(table.schema.metadata or {}), "dejavu.coverage": json.dumps(asdict(coverage))}
    table = table.replace_schema_metadata(told)
    return SqlResult(table, text, context.work, perf_counter() - started, coverage)
