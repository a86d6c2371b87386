"""A comparison as tables that are read at 80 columns, and as one for a page."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from engine.evaluation.compare import BRIEF, TASKS, Comparison, Point
from engine.evaluation.goals import judge_goals
from engine.evaluation.paired import NORMAL_95, Paired
from engine.evaluation.report import Cell, Report, show

COSTS = ("strategy", "reuse", "MACs ×", "drift", "p5", "worst")
TIMES = ("strategy", "MACs ×", "CPU ×", "wall ×")
AGREEMENT = ("nearest %", "top-1 %")
SCORES = ("strategy", "MACs ×", "R@1", "choice", "grounded", "brief")
LOSSES = ("strategy", "R@1", "choice", "grounded", "brief")


def tabulate_comparison(found: Comparison) -> Report:
    """Costs and drift first, then scores, losses and goals; the raw figures are the data."""
    points, natural = found.points, found.points[0].nearest is not None
    columns = (*COSTS, *AGREEMENT) if natural else COSTS
    rows = [[*_costs(point), *(_agreement(point) if natural else [])] for point in points]
    goals = judge_goals(points)
    times = _times(points)
    told = (times, goals) if natural else (times, _scores(points), _losses(points), goals)
    more = tuple(each for each in told if each.rows)
    notes = (
        *found.notes,
        "× is dense over the strategy in one run: MACs, multiply-accumulates, ± 95 % over videos;",
        "p5 and worst are cosines",
    )
    if natural:
        notes += (
            "frames whose nearest other frame, or best class, is dense's, ± 95 % over videos",
        )
    return Report(found.title, columns, rows, notes, asdict(found), more)


def _costs(point: Point) -> list[Cell]:
    cosines = [round(point.p5, 3), round(point.worst, 3)]
    return [point.label, round(point.reuse, 3), _macs(point), round(point.drift, 4), *cosines]


def _times(points: Sequence[Point]) -> Report:
    rows: list[list[Cell]] = [
        [point.label, *(each(point) for each in (_macs, _cpu, _wall))]
        for point in points
        if point.cpu is not None or point.seconds is not None
    ]
    notes = (
        "CPU, processor time of all threads; wall, time by the clock; ± 95 % over turns of videos",
    )
    return Report("Time", TIMES, rows, notes)


def _macs(point: Point) -> str:
    return _factor(point.macs, point.errors.get("macs"))


def _cpu(point: Point) -> str | None:
    return None if point.cpu is None else _factor(point.cpu, point.errors.get("cpu"))


def _wall(point: Point) -> str | None:
    return None if point.seconds is None else _factor(point.seconds, point.errors.get("seconds"))


def _factor(ratio: float, error: float | None) -> str:
    """How many times less: 1 / ratio, with the half width of its interval."""
    if error is None:
        return f"{1 / ratio:.2f}"
    return f"{1 / ratio:.2f} ±{NORMAL_95 * error / ratio**2:4.2f}"


def _agreement(point: Point) -> list[Cell]:
    found = (("nearest", point.nearest), ("top1", point.top1))
    return [None if share is None else _share(point, name, share) for name, share in found]


def _share(point: Point, name: str, share: float) -> str:
    half = 100 * NORMAL_95 * point.errors.get(name, 0.0)
    return f"{100 * share:.1f} ±{half:4.1f}"


def _scores(points: Sequence[Point]) -> Report:
    rows: list[list[Cell]] = []
    for point in points:
        scores = [point.tasks.get(name) for name in (*TASKS, BRIEF)]
        told = [None if each is None else round(each.score, 1) for each in scores]
        rows.append([point.label, round(1 / point.macs, 2), *told])
    counted = [each.items for each in points[0].tasks.values()]
    notes = (
        f"percent; {counted[0]:,} captions, {counted[1]:,} questions; brief: those on what is there"
        " for a moment; chance of a choice 25",
    )
    return Report("Answers", SCORES, rows, notes)


def _losses(points: Sequence[Point]) -> Report:
    rows: list[list[Cell]] = [
        [point.label, *(_loss(point.tasks.get(name)) for name in (*TASKS, BRIEF))]
        for point in points[1:]
    ]
    notes = ("percent of dense's score, ± 95 %, on the same items; below 0 is a gain",)
    return Report("Lost against dense", LOSSES, rows, notes)


def _loss(paired: Paired | None) -> str | None:
    if paired is None:
        return None
    return f"{100 * paired.loss:+5.1f} ±{50 * (paired.high - paired.low):4.1f}"


Cells = Callable[[Point], Cell]


def markdown_comparison(found: Comparison) -> str:
    """Return the figures as one table of a page: cost, time where it was taken, what is left."""
    points, first = found.points, found.points[0]
    columns: dict[str, Cells] = {"strategy": lambda point: point.label, "MACs ×": _macs}
    if any(point.cpu is not None for point in points):
        columns |= {"CPU ×": _cpu}
    columns |= {"drift": lambda point: f"{abs(point.drift):.4f}"}
    if first.nearest is not None:
        columns |= {"p5": lambda point: f"{point.p5:.3f}"}
    for title, name in (("nearest %", "nearest"), ("top-1 %", "top1")):
        if getattr(first, name) is not None:
            columns[title] = partial(_agreeing, name)
    for title, name in zip(LOSSES[1:], (*TASKS, BRIEF), strict=True):
        if name in first.tasks:
            columns[f"{title} lost %"] = partial(_lost, name)
    cells = [[show(told(point)) for told in columns.values()] for point in points]
    lines = [list(columns), ["---"] * len(columns), *cells]
    told = [
        "| " + " | ".join(re.sub("± *", "± ", each).strip() for each in row) + " |" for row in lines
    ]
    return "\n".join(told) + "\n"


def _agreeing(name: str, point: Point) -> str:
    return _share(point, name, getattr(point, name) or 0.0)


def _lost(name: str, point: Point) -> str | None:
    return _loss(point.tasks.get(name))
