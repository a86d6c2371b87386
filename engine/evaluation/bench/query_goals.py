"""What `bench query` measured of one statement, and whether it reaches what was aimed at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluation.report import Cell, Report

COLUMNS = (
    *("rows", "statement", "filter", "SQL p50", "p99", "cpu", "plan", "read", "rest", "EXPLAIN"),
    *(
        "index p50",
        "p99",
        "cpu",
        "LanceDB p50",
        "p99",
        "cpu",
        "DuckDB p50",
        "recall",
        "LanceDB's",
        "at 100",
    ),
)
OVER_INDEX, OVER_PEER, OVER_BUILD = 1.5, 1.0, 1.2
MOST_P99, MOST_PLANNING, MOST_OPENING = 15.0, 5.0, 300.0  # ms
_LARGE = 1_000_000  # rows at which the 99th percentile is judged


@dataclass(frozen=True, slots=True)
class Figures:
    """One statement: milliseconds by clock and processor of whoever was asked, and recall."""

    num_rows: int
    statement: str
    filter: str
    times: dict[str, list[tuple[float, float]]]
    stages: tuple[float, ...]  # planning, reading, the rest, EXPLAIN
    recall: float | None = None
    peer_recall: float | None = None
    recall_of_more: float | None = None  # at 100

    def at(self, who: str, share: float, clock: int = 0) -> float | None:
        """Return a percentile of the clock's times, or (1) of the processor's."""
        found = self.times.get(who)
        return float(np.percentile([each[clock] for each in found], share)) if found else None

    def row(self) -> list[Cell]:
        """Return the figures in the order of COLUMNS."""

        def of(who: str) -> list[Cell]:
            return [self.at(who, 50), self.at(who, 99), self.at(who, 50, 1)]

        stages: list[Cell] = list(self.stages)
        told: list[Cell] = [self.num_rows, self.statement, self.filter, *of("sql")]
        told += stages or [None] * 4
        return [
            *told,
            *of("index"),
            *of("lance"),
            self.at("duck", 50),
            self.recall,
            self.peer_recall,
            self.recall_of_more,
        ]


def judge(figures: Sequence[Figures], built: Sequence[Sequence[Cell]]) -> Report:
    """Hold the figures against the goals, one row for each goal and statement."""
    rows = [row for each in figures for row in _goals(each)]
    for size, write, build, opened, peer_write, peer_build, *_ in built:
        rows.append(_goal(size, "open + first search, ms", opened, 1e-3, MOST_OPENING))
        rows.append(_goal(size, "writing ÷ LanceDB's", write, peer_write, OVER_BUILD))
        rows.append(_goal(size, "index build ÷ LanceDB's", build, peer_build, OVER_BUILD))
    kept = [row for row in rows if row is not None]
    return Report("Goals", ("rows", "goal", "wanted", "found", "met"), kept)


def _goals(each: Figures) -> Iterator[list[Cell] | None]:
    size, name = each.num_rows, f"{each.statement}, filter {each.filter}"
    sql = each.at("sql", 50)
    for who, named, most in (("index", "index", OVER_INDEX), ("lance", "LanceDB", OVER_PEER)):
        yield _goal(size, f"{name}: p50 ÷ {named}'s", sql, each.at(who, 50), most)
        processor = each.at(who, 50, 1)
        yield _goal(size, f"{name}: cpu ÷ {named}'s", each.at("sql", 50, 1), processor, most)
    if size >= _LARGE and each.statement.startswith("top"):
        yield _goal(size, f"{name}: p99, ms", each.at("sql", 99), 1.0, MOST_P99)
    if each.stages:
        yield _goal(size, f"{name}: planning, ms", each.stages[0], 1.0, MOST_PLANNING)
        yield _goal(size, f"{name}: EXPLAIN, ms", each.stages[3], 1.0, MOST_PLANNING)


def _goal(size: Cell, name: str, value: Cell, unit: Cell, most: float) -> list[Cell] | None:
    """Return one row; None where a figure is missing, as the peer's are where it is not there."""
    if not isinstance(value, float) or not isinstance(unit, float):
        return None
    found = value / unit
    return [size, name, f"≤ {most:g}", found, "yes" if found <= most else "no"]
