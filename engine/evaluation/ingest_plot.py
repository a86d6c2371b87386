"""A whole ingest by every way in one picture, and as a table for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.evaluation.bench.end_to_end import COLUMNS, PLAIN
from engine.evaluation.report import show
from engine.evaluation.saved import read_saved

DECODE, ENCODE, WALL, FAINT = "#c46200", "#2e6fb7", "#333333", "#888888"
BELOW: dict[str, Any] = {
    "frameon": False,
    "fontsize": 8,
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.08),
    "ncols": 3,
}


@dataclass(frozen=True, slots=True)
class IngestTable:
    """What `bench ingest --end-to-end --out` wrote: a row for each way."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the table as a page shows it."""
        head = ("| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|")
        rows = ("| " + " | ".join(show(row[name]) for name in COLUMNS) + " |" for row in self.rows)
        return "\n".join([*head, *rows, "", self.title, *("", *self.notes), ""])


def read_ingests(path: Path) -> IngestTable | None:
    """Read a table of whole ingests; None where the file holds something else."""
    told = read_saved(path)
    rows = None if told is None else told.get("rows")
    if told is None or not rows or not isinstance(rows, list):
        return None
    if not all(isinstance(row, dict) and set(COLUMNS) <= set(row) for row in rows):
        return None
    return IngestTable(str(told.get("title", "")), rows, tuple(told.get("notes", ())))


def draw_ingests(found: IngestTable, path: Path) -> Path:
    """Draw seconds, pictures and drift of each way; write the table beside it and return where."""
    figure = Figure(figsize=(13, 1.6 + 0.5 * len(found.rows)), layout="constrained")
    figure.suptitle(found.title)
    seconds, pictures, drift = figure.subplots(1, 3, sharey=True, width_ratios=(5, 3, 4))
    ways = [str(row["way"]) for row in found.rows]
    _seconds(seconds, found.rows)
    pictures.barh(ways, [row["pictures"] for row in found.rows], color=DECODE, height=0.5)
    pictures.set_title("pictures decoded", size=10)
    _drift(drift, found.rows)
    seconds.invert_yaxis()
    for axes in (seconds, pictures, drift):
        axes.grid(alpha=0.25, axis="x")
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    table = path.with_suffix(".md")
    table.write_text(found.markdown())
    return table


def _seconds(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ways = [str(row["way"]) for row in rows]
    decode = [row["decode s"] for row in rows]
    encode = [row["encode s"] for row in rows]
    axes.barh(ways, decode, color=DECODE, height=0.5, label="decoding, of all threads")
    axes.barh(ways, encode, left=decode, color=ENCODE, height=0.5, label="encoding")
    wall = [row["wall s"] for row in rows]
    axes.plot(wall, range(len(ways)), "d", color=WALL, ms=7, label="by the clock")
    for at, row in enumerate(rows):
        if row["way"] != PLAIN and row["CPU ×"] is not None:
            told = f"{row['×']:.2f} × by the clock, {row['CPU ×']:.2f} × of processor time"
            end = max(decode[at] + encode[at], wall[at])
            axes.annotate(told, (end, at), (6, 0), textcoords="offset points", va="center", size=7)
    axes.margins(x=0.55)
    axes.set_xlim(left=0)
    axes.set_title("seconds, and × over the plain loop", size=10)
    axes.legend(**BELOW)


def _drift(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for at, row in enumerate(rows):
        if row["drift"] is None:
            continue
        axes.plot([row["drift"], row["p99"]], [at, at], color=FAINT, lw=1)
        axes.plot(row["drift"], at, "o", color=ENCODE, label="mean" if at == 0 else None)
        axes.plot(
            row["p99"], at, "|", color=WALL, ms=12, label="99th percentile" if at == 0 else None
        )
        if row["brief"]:
            told = f"brief events {row['brief']}"
            axes.annotate(told, (row["p99"], at), (8, -3), textcoords="offset points", size=7)
    axes.margins(x=0.4)
    axes.set_xlim(left=0)
    axes.set_title("drift from dense, 1 − cosine", size=10)
    axes.legend(**BELOW)
