"""How results look: tables for people, one JSON document for programs."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.markup import escape
from rich.table import Table

from api.clock import clock as clock
from engine.evaluation.report import Report
from engine.evaluation.report import show as show_cell
from engine.printable import printable

_ENDLESS = 100_000  # columns: as good as no end


class _Output(Console):
    """Wraps lines for a terminal alone: who reads a pipe splits lines himself."""

    @property  # type: ignore[misc]  # nobody sets it
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        found = super().size
        return found if self.is_terminal else ConsoleDimensions(_ENDLESS, found.height)


out = _Output(highlight=False)
err = Console(stderr=True, highlight=False)


@contextmanager
def aside(wanted: bool) -> Iterator[None]:
    """Send what people read to stderr meanwhile: stdout is for one JSON document."""
    out.stderr = wanted
    try:
        yield
    finally:
        out.stderr = False


def plain(value: Any) -> Any:
    """Turn records into what JSON has words for; not-a-number becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2) + "\n")
    sys.stdout.flush()  # a server's document is read while it runs


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None
) -> None:
    """Print a table; columns of numbers stand at the right."""
    listed = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for place, name in enumerate(columns):
        numbers = listed and all(isinstance(row[place], int | float | None) for row in listed)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*(escape(printable(show_cell(cell))) for cell in row))
    out.print(table)


def print_reasons(reasons: Iterable[tuple[str, str]]) -> None:
    """Print, below a table, what is wrong with some of what it lists: a line or two for each."""
    for name, reason in reasons:
        said = reason if name in reason else f"{name}: {reason}"
        out.print(f"[yellow]{escape(printable(said))}[/]", soft_wrap=True)


def print_caution(caution: str | None) -> None:
    """Print what has to be known before an answer is relied on."""
    if caution is not None:
        out.print(f"[yellow]{escape(caution)}[/]", soft_wrap=True)


def print_report(report: Report, *, as_json: bool, path: Path | None = None) -> None:
    """Print a measured table and, if asked for, write it as JSON too."""
    if path is not None:
        report.write_json(path)
    if as_json:
        print_json(report.as_dict())
        return
    for number, each in enumerate((report, *report.more)):
        if number:
            out.print()
        print_table(each.columns, each.rows, title=f"[bold]{each.title}[/]")
        for note in each.notes:
            out.print(f"[dim]{note}[/]")
    if path is not None:
        out.print(f"[dim]written to {path}[/]")


def mark(good: bool, text: str) -> None:
    """Say whether something came out as it should."""
    out.print(f"{'[green]✓[/]' if good else '[red]✗[/]'} [dim]{text}[/]")


def step(number: str, text: str) -> None:
    """Begin a step."""
    out.print(f"\n[bold magenta]{number}[/]  [bold]{text}[/]", highlight=False)
