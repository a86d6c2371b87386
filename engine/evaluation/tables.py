"""A comparison as tables that are read at 80 columns."""

from collections.abc import Sequence
from dataclasses import asdict

from engine.evaluation.compare import BRIEF, TASKS, Comparison, Point
from engine.evaluation.goals import judge_goals
from engine.evaluation.paired import NORMAL_95, Paired
from engine.evaluation.report import Cell, Report

COSTS = ("strategy", "reuse", "MACs ×", "CPU ×", "wall ×", "drift", "p5", "worst")
AGREEMENT = ("nearest %", "top-1 %")
SCORES = ("strategy", "MACs ×", "R@1", "choice", "grounded", "brief")
LOSSES = ("strategy", "R@1", "choice", "grounded", "brief")


def tabulate_comparison(found: Comparison) -> Report:
    """Costs and drift first, then scores, losses and goals; the raw figures are the data."""
    points, natural = found.points, found.points[0].nearest is not None
    columns = (*COSTS, *AGREEMENT) if natural else COSTS
    rows = [[*_costs(point), *(_agreement(point) if natural else [])] for point in points]
    goals = judge_goals(points)
    told = (goals,) if natural else (_scores(points), _losses(points), goals)
    more = tuple(each for each in told if each.rows)
    notes = (
        *found.notes,
        "× is dense over the strategy in one run: MACs, multiply-accumulates, ± 95 % over videos;",
        "CPU, processor time of all threads; wall, time by the clock. p5 and worst are cosines",
    )
    if natural:
        notes += (
            "frames whose nearest other frame, or best class, is dense's, ± 95 % over videos",
        )
    return Report(found.title, columns, rows, notes, asdict(found), more)


def _costs(point: Point) -> list[Cell]:
    factors = [
        _factor(point.macs, point.errors.get("macs")),
        None if point.cpu is None else round(1 / point.cpu, 2),
        None if point.seconds is None else round(1 / point.seconds, 2),
    ]
    cosines = [round(point.p5, 3), round(point.worst, 3)]
    return [point.label, round(point.reuse, 3), *factors, round(point.drift, 4), *cosines]


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
