"""What a measurement says: a table for people, the same figures as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Report:
    """One table of measured figures; `notes` state the conditions, `data` holds the raw figures.

    `more` are tables over the same measurement.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    more: tuple["Report", ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values, rows as objects."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
            "data": self.data,
            "more": [report.as_dict() for report in self.more],
        }

    def write_json(self, path: Path) -> None:
        """Write `as_dict` as indented JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def text(self) -> str:
        """Return the tables as aligned plain text."""
        cells = [list(self.columns), *([show(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        further = ["\n" + report.text() for report in self.more]
        return "\n".join([self.title, *lines, *self.notes, *further])


def show(cell: Cell) -> str:
    """Format a cell for people: four significant digits, thousands grouped, a dash for nothing."""
    if cell is None:
        return "–"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return cell
