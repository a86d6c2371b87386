"""A comparison as pictures: what is kept against what is saved, each family in its own colour."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.errors import UsageError
from engine.evaluation.compare import BRIEF, DENSE, Comparison, Point
from engine.evaluation.goals import CHANCE, COSTS, LOSS, at_costs, families
from engine.evaluation.paired import NORMAL_95
from engine.evaluation.settings import BRIDGE, GATE, INTERPOLATE, REUSEVIT
from engine.evaluation.tables import markdown_comparison

PANELS = (
    ("retrieval", "text → video, R@1"),
    ("answers", "multiple choice"),
    ("grounded", "grounded answers, Acc@GQA"),
    (BRIEF, "brief events, multiple choice"),
)
COLOURS = {
    INTERPOLATE: "#6b6b6b",
    f"{GATE} untrained": "#e8a33d",
    f"{GATE} bridged": "#1b998b",
    f"{GATE} calibrated": "#d1495b",
    f"{GATE} trained": "#7b1e7a",
    f"{GATE} no bridge": "#b06fb0",
    BRIDGE: "#9bc53d",
    REUSEVIT: "#2e6fb7",
    "diffrate": "#000000",
    "tome": "#8d5524",
    "eventful": "#c46200",
    "eventful_emulated": "#d7a06a",
    "cmc_emulated": "#00b4d8",
    "runlength": "#6d8b00",
    "rgtp": "#c2186b",
}
OTHERS = ("#5c3d2e", "#56a3d9", "#8aa83b")  # of families named by their files
FAINT = "#888888"
LABEL_GAP = 0.06  # of the height of a panel

Value = Callable[[Point], float]
Bars = Callable[[Point], tuple[float, float]]
ARITHMETIC = "times fewer multiply-accumulates than dense"
TIME = "times less processor time than dense"
SAVED: dict[str, Value] = {
    ARITHMETIC: lambda point: 1 / point.macs,
    TIME: lambda point: 1 / (point.cpu or point.seconds or np.nan),
}


def draw_comparison(found: Comparison, folder: Path) -> list[Path]:
    """Draw every picture that the points have figures for; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"drift": _draw_drift(found)} | _draw_left(found)
    name = found.title.lower().replace(" ", "-")
    files = [folder / f"{name}-{what}.png" for what in pictures]
    for path, figure in zip(files, pictures.values(), strict=True):
        figure.savefig(path, dpi=80)
    return files


def draw_left(found: Comparison, path: Path) -> Path:
    """Draw what is left of tasks or agreement; write the table beside it and return where."""
    figures = _draw_left(found)
    if not figures:
        raise UsageError(f"{found.title} has neither tasks nor agreement, which is drawn")
    path.parent.mkdir(parents=True, exist_ok=True)
    next(iter(figures.values())).savefig(path, dpi=80)
    table = path.with_suffix(".md")
    table.write_text(markdown_comparison(found))
    return table


def _draw_left(found: Comparison) -> dict[str, Figure]:
    figures = {}
    if found.points[0].tasks:
        figures["tasks"] = _draw_tasks(found)
    if found.points[0].nearest is not None:
        figures["agreement"] = _draw_agreement(found)
    return figures


def _draw_tasks(found: Comparison) -> Figure:
    """A row a task, a column for arithmetic and one for time; two rows where nothing was timed."""
    timed = found.points[0].seconds is not None
    figure = Figure(figsize=(12, 14 if timed else 7.5), layout="constrained")
    saving = "arithmetic and time are saved" if timed else "arithmetic is saved"
    figure.suptitle(f"{found.title}: what is left of each task as {saving}")
    grid = figure.subplots(len(PANELS) if timed else 2, 2).flat
    columns = list(SAVED) if timed else [ARITHMETIC]
    for task, title in PANELS:
        dense = found.points[0].tasks.get(task)
        if dense is None:  # no question of the kind
            continue
        for saved in columns:
            axes = next(grid)
            _line(axes, 100 * (1 - LOSS), "2 % lost")
            if task == BRIEF and dense.score:
                _line(axes, 100 * CHANCE / dense.score, "chance")
            axes.set_title(f"{title} (dense {dense.score:.1f} %, n = {dense.items:,})", size=10)
            axes.set_ylabel("% of dense's score, bars: 95 %")
            _curves(axes, found.points, partial(_kept, task), saved, partial(_limits, task))
    return figure


def _kept(task: str, point: Point) -> float:
    return 100 * (1 - point.tasks[task].loss)


def _limits(task: str, point: Point) -> tuple[float, float]:
    paired = point.tasks[task]
    return 100 * (1 - paired.high), 100 * (1 - paired.low)


def _draw_drift(found: Comparison) -> Figure:
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(f"{found.title}: how far vectors are from dense ones")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.axvspan(1 / COSTS[-1], 1 / COSTS[0], color="#f2f2f2", zorder=0)
        middle = (1 / COSTS[-1] + 1 / COSTS[0]) / 2
        axes.text(
            middle, 0.98, "cost .6 to .25", color=FAINT, size=8, ha="center", va="top",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    left.set(yscale="log", ylabel="mean drift, 1 − cosine")
    left.set_title("Mean, lower is better", size=10)
    if INTERPOLATE in families(found.points):
        _halve(left, found.points)
    _curves(left, found.points[1:], lambda point: point.drift)
    right.set_ylabel("cosine to dense")
    right.set_title("5th percentile of the cosine, higher is better", size=10)
    _curves(right, found.points, lambda point: point.p5)
    return figure


def _halve(axes: Axes, points: Sequence[Point]) -> None:
    """Draw what half of interpolation's drift would be."""
    costs = np.linspace(min(p.macs for p in points if p.family == INTERPOLATE), 0.97, 200)
    half = at_costs(points, INTERPOLATE, lambda point: point.drift, costs) / 2
    axes.plot(1 / costs, half, color=COLOURS[INTERPOLATE], ls="--", lw=1)
    axes.annotate(
        "half of interpolation", (1 / costs[100], half[100]), (6, -12), textcoords="offset points",
        color=COLOURS[INTERPOLATE], size=8,
    )  # fmt: skip


def _draw_agreement(found: Comparison) -> Figure:
    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(f"{found.title}: frames of which a reader of the vectors says the same")
    panels = {
        "nearest": "same nearest other frame as dense's",
        "top1": "same best class as dense's",
    }
    for row, (name, title) in zip(figure.subplots(2, len(SAVED)), panels.items(), strict=True):
        for axes, saved in zip(row, SAVED, strict=True):
            axes.set_title(title, size=10)
            axes.set_ylabel("% of frames, bars: 95 %")
            _curves(axes, found.points, partial(_share, name), saved, partial(_around, name))
    return figure


def _share(name: str, point: Point) -> float:
    return 100 * ((point.nearest if name == "nearest" else point.top1) or 0)


def _around(name: str, point: Point) -> tuple[float, float]:
    half, middle = 100 * NORMAL_95 * point.errors.get(name, 0.0), _share(name, point)
    return middle - half, middle + half


def _curves(
    axes: Axes,
    points: Sequence[Point],
    value: Value,
    saved: str = ARITHMETIC,
    bars: Bars | None = None,
) -> None:
    """Draw a line a family over what is saved, its name beside its far end, and intervals."""
    ends, along = [], SAVED[saved]
    for family in families(points):
        own = sorted((along(p), value(p)) for p in points if p.family in (family, DENSE))
        colour = colour_of(family, points)
        marker = "s" if family == INTERPOLATE else "o"
        axes.plot(*zip(*own, strict=True), color=colour, marker=marker, ms=4, lw=1.6)
        for point in points if bars else ():
            if bars and point.family == family:
                axes.vlines(along(point), *bars(point), color=colour, alpha=0.25, lw=2)
        ends.append((own[-1], family, colour))
    axes.set_xlabel(saved)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _name(axes, ends)


def _name(axes: Axes, ends: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """Write names at the right edge, as high as their lines end and never over each other."""
    axes.get_ylim()  # settles the limits, which the lines have only asked for so far
    to_panel = axes.transData + axes.transAxes.inverted()
    heights = [float(to_panel.transform(end)[1]) for end, _, _ in ends]
    for height, place in zip(_spread(sorted(heights)), np.argsort(heights), strict=True):
        _, family, colour = ends[place]
        axes.text(1.01, height, family, color=colour, size=9, va="center", transform=axes.transAxes)


def _spread(heights: Sequence[float]) -> list[float]:
    """Move rising heights apart by a label's gap, up first and down again from the top."""
    apart: list[float] = []
    for height in heights:
        apart.append(max(height, apart[-1] + LABEL_GAP) if apart else height)
    top = 1.0
    for place in reversed(range(len(apart))):
        apart[place] = min(apart[place], top)
        top = apart[place] - LABEL_GAP
    return apart


def _line(axes: Axes, height: float, what: str) -> None:
    axes.axhline(height, color=FAINT, lw=0.8, ls=":")
    axes.annotate(what, (1, height), (0, -10), textcoords="offset points", color=FAINT, size=8)


def colour_of(family: str, points: Sequence[Point]) -> str:
    """Return the colour of a family, the same in every picture."""
    if family in COLOURS:
        return COLOURS[family]
    unknown = [name for name in families(points) if name not in COLOURS]
    return OTHERS[unknown.index(family) % len(OTHERS)]
