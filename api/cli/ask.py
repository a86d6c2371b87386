"""`query` and `sql`."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.markup import escape

from api.cli import finding, flags, show
from api.cli.connect import connect
from engine.errors import UsageError, unknown
from engine.results import GroupBy, Moment, QueryResult
from engine.rows import caution_of

if TYPE_CHECKING:
    import pyarrow as pa

_CLEAR = {True: "clear", False: "not clear", None: ""}
FORMATS = ("table", "json", "csv", "parquet")
MOMENT_FORMATS = ("table", "json", "csv")


def query(
    text: finding.Text = None,
    image: finding.Image = None,
    video: flags.Videos = None,
    where: flags.Where = None,
    top: finding.Top = 10,
    offset: finding.Offset = 0,
    group_by: Annotated[str, typer.Option(help="frame, moment or video.")] = "moment",
    min_score: finding.MinScore = None,
    mix: finding.Mix = None,
    _not: finding.Without = None,
    signal: finding.Signals = None,
    spaces: finding.Spaces = None,
    exact: Annotated[
        bool | None,
        typer.Option(help="Refine approximate rows, cut-offs too; by default for the order alone."),
    ] = None,
    budget_seconds: flags.BudgetSeconds = None,
    budget_frames: flags.BudgetFrames = None,
    form: Annotated[
        str,
        typer.Option("--format", envvar="DEJAVU_QUERY_FORMAT", help="table, json or csv."),
    ] = "table",
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures.")] = None,
    links: Annotated[
        str, typer.Option(help="What its videos play from: relative, absolute, none, or a URL.")
    ] = "relative",
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Find the moments that fit a text, or a picture."""
    if group_by not in get_args(GroupBy):
        raise UsageError(unknown("group_by", group_by, get_args(GroupBy)))
    if form not in MOMENT_FORMATS:
        raise UsageError(unknown("format", form, MOMENT_FORMATS))
    sought = finding.Sought(
        text,
        image,
        mix or (),
        _not or (),
        video or (),
        where,
        top,
        offset,
        min_score,
        signal or (),  # type: ignore[arg-type]  # the engine says what is allowed
    )
    if html is not None:
        from api.cli.page import check_links, write_page

        check_links(links)
    with connect(data, model, device) as engine:
        limits = finding.budgets(budget_seconds, budget_frames)
        if spaces is not None:
            limits["spaces"] = [each.strip() for each in spaces.split(",") if each.strip()]
        found = sought.find(engine, group_by, exact, **limits)  # type: ignore[arg-type]
        if html is not None:
            write_page(html, sought.title, found, engine, links)
    if as_json or form == "json":
        show.print_json(found)
    elif form == "csv":
        _write_moments(found.moments)
    else:
        print_moments(found, first=offset + 1)
        if html is not None:
            show.out.print(f"[dim]page written to {html}[/]")


def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT; - reads it from stdin.")],
    param: Annotated[
        list[str] | None, typer.Option(help="name=value for $name; repeatable.")
    ] = None,
    budget_seconds: flags.BudgetSeconds = None,
    budget_frames: flags.BudgetFrames = None,
    form: Annotated[
        str,
        typer.Option("--format", envvar="DEJAVU_SQL_FORMAT", help="table, json, csv or parquet."),
    ] = "table",
    explain: Annotated[bool, typer.Option(help="Show the plan.")] = False,
    analyze: Annotated[bool, typer.Option(help="Run it and show what it really did.")] = False,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Run a SELECT over videos, gops, frames and moments('text')."""
    if form not in FORMATS:
        raise UsageError(unknown("format", form, FORMATS))
    text = sys.stdin.read() if statement == "-" else statement
    if explain or analyze:
        text = f"EXPLAIN {'ANALYZE ' if analyze else ''}{text}"
    named = _parameters(param or ())
    with connect(data, model, device) as engine:
        options = finding.budgets(budget_seconds, budget_frames)
        table = engine.sql(text, options=options, **named).arrow()
    write_table(table, "json" if as_json else form, plan=explain or analyze)


def _write_moments(moments: Sequence[Moment]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(field.name for field in fields(Moment))
    for moment in moments:
        writer.writerow(" ".join(v) if isinstance(v, tuple) else v for v in astuple(moment))


def print_moments(found: QueryResult, *, first: int = 1) -> None:
    """Print moments as a table with where they came from."""
    spoken = any(moment.line for moment in found.moments)
    rows = [
        (
            place,
            moment.name,
            f"{show.clock(moment.start_seconds)} – {show.clock(moment.stop_seconds)}",
            show.clock(moment.peak_seconds),
            round(moment.score, 4),
            _CLEAR[moment.clear],
            *(_said(moment) if spoken else ()),
        )
        for place, moment in enumerate(found.moments, start=first)
    ]
    covered = found.coverage
    if rows:
        said = ("by", "said") if spoken else ()
        show.print_table(("#", "video", "moment", "best at", "score", "match", *said), rows)
        if not any(moment.clear in (True, None) for moment in found.moments):
            show.out.print(
                "[yellow]no clear match: unrelated texts score as high; these come nearest[/]"
            )
    elif covered.frames:
        show.out.print("nothing scores as high as --min-score asks for")
    else:
        show.out.print("nothing is stored here yet; bring in videos: dejavu-engine ingest PATH")
    parts = [f"{covered.frames:,} frames of {covered.videos:,} videos"]
    parts += [f"{covered.embedded:,} embedded now"] if covered.embedded else []
    parts += [f"{covered.refined:,} made exact"] if covered.refined else []
    if covered.coarse_seconds:
        parts.append(f"{covered.coarse_seconds:,.0f} s looked at by first frames alone")
    if not covered.complete:
        why = covered.lacks or "time ran out, and asking again goes on, or a file cannot be read"
        parts.append(f"not complete: {why}")
    parts += (
        ["where they begin and end rests on approximate rows"] if covered.edges_may_move else []
    )
    parts += ["by an index that may miss some: --exact looks at all"] if covered.approximate else []
    milliseconds = 1000 * sum(found.timing.values())
    show.out.print(f"[dim]{escape(', '.join(parts))}, {milliseconds:.0f} ms; {found.plan}[/]")
    show.print_caution(found.caution)


def _said(moment: Moment) -> tuple[str, str]:
    line = " ".join((moment.line or "").split())
    return ", ".join(moment.signals), line if len(line) <= 80 else f"{line[:79]}…"


def write_table(table: "pa.Table", form: str, *, plan: bool = False) -> None:
    """Write rows on stdout in a form; a caution that the form has no place for, on stderr."""
    if form in ("json", "csv") and (caution := caution_of(table)) is not None:
        show.err.print(f"[yellow]{escape(caution)}[/]", soft_wrap=True)
    if form == "parquet":
        if sys.stdout.isatty():
            raise UsageError("parquet is no text; send it to a file: … --format parquet > out")
        import pyarrow.parquet as pq

        pq.write_table(table, sys.stdout.buffer)
    elif form == "json":
        show.print_json(table.to_pylist())
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    elif plan:
        for line in table.column(0).to_pylist():
            sys.stdout.write(f"{line}\n")
    else:
        columns = table.column_names
        rows = [[_cell(row[name]) for name in columns] for row in table.to_pylist()]
        show.print_table(columns, rows)
        show.out.print(f"[dim]{table.num_rows:,} rows[/]")
        show.print_caution(caution_of(table))


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return json.dumps(show.plain(value)) if isinstance(value, dict | list) else str(value)


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in map(_parameter, given):
        if name in named:
            raise UsageError(f"--param {name} is given twice; allowed: one value for each name")
        named[name] = value
    return named


def _parameter(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--param {given!r}; expected name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
