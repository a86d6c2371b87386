"""A SQL statement's story: prepare, run, report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from time import perf_counter
from typing import Any

import pyarrow as pa

from engine.commands import run_command
from engine.errors import QueryError
from engine.operators.base import Context, read_table
from engine.planner.bounds import nesting_bounded
from engine.planner.commands import read_command
from engine.planner.cost import Cost, estimate_all
from engine.planner.explain import explain_text
from engine.planner.explain_json import explain_json
from engine.planner.joined_texts import list_joined, may_join_texts
from engine.planner.logical import reads_actions, reads_detections, reads_vectors
from engine.planner.parse import ExplainForm, Statement, parse
from engine.planner.passing import learn_passing
from engine.planner.pivots import MOST_VALUES, list_values
from engine.planner.place import in_users_text
from engine.planner.prepare import Prepared, prepare
from engine.planner.reasons import beyond_promise
from engine.planner.texts import list_texts, may_ask_texts
from engine.rows import CAUTION, Completeness, SqlResult


def run_sql(
    context: Context,
    sql: str,
    positional: Sequence[Any] = (),
    named: Mapping[str, Any] = {},
    *,
    max_rows: int,
    explain: bool = False,
    analyze: bool = False,
    form: ExplainForm | None = None,
) -> SqlResult:
    """Run a statement; EXPLAIN, or `explain`, returns its plan as rows and reads nothing."""
    started = perf_counter()
    command = read_command(sql)
    if command is not None and not explain:
        rows = run_command(context, command, sql, (positional, named))
        return _result(rows, "", context, started)
    vocabulary = context.vocabulary()
    planned = partial(
        prepare,
        sql,
        positional,
        named,
        context.sandbox,
        false_match_rate=context.options.false_match_rate,
        max_rows=max_rows,
        exact=context.options.exact,
        analyze=analyze,
        vocabulary=vocabulary,
    )
    parsed = None
    if "PIVOT" in sql.upper() or may_ask_texts(sql) or may_join_texts(sql):
        with nesting_bounded(sql):
            written = parse(sql, positional, named, vocabulary)
            listed = _with_values(written, context, planned)
            parsed = None if listed is written else listed  # what stands as it was is kept planned
    prepared = planned(parsed=parsed)
    options = context.options.override(prepared.statement.options)
    context = replace(context, options=options)
    analyze = analyze or prepared.statement.explain == "analyze"
    form = form or prepared.statement.form
    shown = explain or prepared.statement.explain != "no"
    context.reading.vectors = (analyze or not shown) and reads_vectors(prepared.plan)
    with nesting_bounded(sql):
        prepared = prepared.in_order(context)
    if shown and not analyze:
        with nesting_bounded(sql):
            return _explained(prepared, context, started, form)
    costs = _estimate(prepared, context) if shown or analyze else None
    begun = perf_counter()
    table = _run(prepared, context)
    seconds = perf_counter() - begun
    learn_passing(context, prepared.plan, seconds, choice=prepared.planned.choice)
    with nesting_bounded(sql):
        if not shown and not analyze:
            table = _cautioned(table, prepared, context)
            return _result(table, prepared.shown, context, started)
        return _explained(prepared, context, started, form, costs=costs, analyzed=seconds)


def _with_values(
    statement: Statement, context: Context, planned: Callable[..., Prepared]
) -> Statement:
    """List the values of each PIVOT and the texts that are asked for: these are read first."""

    def ask(values: Statement) -> pa.Table:
        prepared = planned(parsed=values, analyze=False, max_rows=MOST_VALUES + 1)
        options = context.options.override(values.options)
        context_of_values = replace(context, options=options)
        return _run(prepared.in_order(context_of_values), context_of_values)

    return list_values(list_joined(list_texts(statement, ask), ask), ask)


def _explained(
    prepared: Prepared, context: Context, started: float, form: ExplainForm, **ran: Any
) -> SqlResult:
    """Return a plan as rows of lines, or as one row of JSON."""
    if form == "json":
        told = explain_json(prepared.plan, prepared.rules, context, reasons=prepared.reasons, **ran)
        text = json.dumps(told, default=str)
        return _result(pa.table({"explain": [text]}), text, context, started)
    text = explain_text(prepared.plan, prepared.rules, context, reasons=prepared.reasons, **ran)
    return _result(pa.table({"explain": text.splitlines()}), text, context, started)


def _estimate(prepared: Prepared, context: Context) -> list[Cost]:
    """What is expected before anything has run."""
    with nesting_bounded(prepared.statement.sql):
        return estimate_all(prepared.plan, context)


def _run(prepared: Prepared, context: Context) -> pa.Table:
    sql = prepared.statement.sql
    try:
        with nesting_bounded(sql):
            return read_table(prepared.operator, context)
    except QueryError as error:
        raise in_users_text(error, sql) from error


def _cautioned(table: pa.Table, prepared: Prepared, context: Context) -> pa.Table:
    """Say in the schema what has to be known of the models that the rows rest on."""
    seen = context.caution if reads_vectors(prepared.plan) else None
    done = short = None
    if reads_actions(prepared.plan):
        done = context.actions().caution
        short = context.actions().too_short(context.reading.view.gops)
    found = context.detections().caution if reads_detections(prepared.plan) else None
    all_said = seen, done, short, found, _promised(prepared, context)
    said = "; ".join(each for each in all_said if each)
    if not said:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), CAUTION: said})


def _promised(prepared: Prepared, context: Context) -> str | None:
    """Say of which frames AI_FILTER promised something, where other conditions came after it."""
    later = beyond_promise(prepared.plan)
    if not later or not context.work.looks:
        return None
    counts = dict.fromkeys(item.rows for item in context.work.looks.values())
    rows = " and ".join(f"{count:,}" for count in counts)
    return (
        f"what AI_FILTER promises is of the {rows} frames that it was given; of those that are left"
        f" nothing is promised, since this came after it: {', '.join(later)}"
    )


def _result(table: pa.Table, text: str, context: Context, started: float) -> SqlResult:
    coverage = Completeness.of_work(context.work)
    told = {**(table.schema.metadata or {}), "dejavu.coverage": json.dumps(asdict(coverage))}
    table = table.replace_schema_metadata(told)
    return SqlResult(table, text, context.work, perf_counter() - started, coverage)
