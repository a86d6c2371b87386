"""What evaluations found, in one picture: accuracy against the reduction of arithmetic."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.errors import NotFoundError, UsageError
from engine.evaluation.compare import DENSE
from engine.evaluation.paired import NORMAL_95
from engine.evaluation.plots import COLOURS, FAINT, OTHERS
from engine.evaluation.settings import GATE, REUSEVIT

TASKS = ("text → video, R@1", "multiple choice", "grounded answers, Acc@GQA")
FAMILY = {"reusevit": REUSEVIT, "earlygate": f"{GATE} trained"}  # where colours know another name


@dataclass(frozen=True, slots=True)
class Scored:
    """One strategy of one evaluation."""

    strategy: str
    reduction: float  # multiply-accumulates of dense over its own
    scores: Mapping[str, tuple[float, int]]  # by task: percent, and of how many


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Evaluations of the same items; dense is the same in all of them."""

    title: str
    points: Sequence[Scored]


def read_evaluations(paths: Sequence[Path]) -> Tradeoff:
    """Read what `eval --out` wrote; evaluations of other items than the first's are refused."""
    points: list[Scored] = []
    first = title = ""
    for path in paths:
        title, found = _read(path)
        about = f"{title}, {_counted(found[0])}"
        first = first or about
        if about != first:
            raise UsageError(
                f"{path} is of {about}, {paths[0]} of {first}; allowed: evaluations of the same"
            )
        if points and found[0] != points[0]:
            raise UsageError(
                f"dense scores otherwise in {path} than in {paths[0]}; allowed: one model"
            )
        points += [each for each in found if each not in points]
    return Tradeoff(title, points)


def _read(path: Path) -> tuple[str, list[Scored]]:
    try:
        told = json.loads(path.read_text())
        scores = told["data"]["scores"]
        if not scores:
            raise ValueError("no strategy")
        title, points = str(told["title"]), [_point(each, scores[0]) for each in scores]
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, ArithmeticError) as error:
        raise UsageError(f"{path}: not what `eval --out` writes") from error
    if points[0].strategy != DENSE or any(
        p.scores.keys() != points[0].scores.keys() for p in points
    ):
        raise UsageError(f"{path}: not what `eval --out` writes: dense first, all on one's tasks")
    if not points[0].scores:
        raise UsageError(f"{path} has no score of {', '.join(TASKS)}: nothing to draw")
    return title, points


def _point(found: Mapping[str, Any], dense: Mapping[str, Any]) -> Scored:
    scores = {}
    if (ranked := found["text_to_video"]) is not None:
        scores[TASKS[0]] = (ranked["recall_at_1"], ranked["num_queries"])
    if found["accuracy"] is not None:
        scores[TASKS[1]] = (found["accuracy"], found["num_questions"])
    if (grounded := found["grounding"]) is not None:
        scores[TASKS[2]] = (grounded["acc_gqa"], grounded["num_questions"])
    scores = {task: said for task, said in scores.items() if said[1]}
    reduction = dense["macs_per_frame"] / found["macs_per_frame"]
    return Scored(found["strategy"], reduction, scores)


def _counted(dense: Scored) -> str:
    return ", ".join(f"{task} of {count}" for task, (_, count) in dense.scores.items())


def draw_tradeoff(found: Tradeoff, path: Path) -> None:
    """Draw a panel a task, a line a strategy from dense on; bars are 95 % of a share's own."""
    tasks = [task for task in TASKS if task in found.points[0].scores]
    figure = Figure(figsize=(1 + 5 * len(tasks), 4.6), layout="constrained")
    figure.suptitle(f"{found.title}: accuracy as arithmetic is saved")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw(axes, task, found.points)
    handles, names = panels[0].get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, task: str, points: Sequence[Scored]) -> None:
    dense = next(each for each in points if each.strategy == DENSE)
    score, count = dense.scores[task]
    axes.axhline(score, color=FAINT, lw=0.8, ls=":")
    axes.plot([1], [score], "k*", ms=9)
    names = list(dict.fromkeys(each.strategy for each in points if each.strategy != DENSE))
    for at, name in enumerate(names):
        own = sorted((p.reduction, p.scores[task][0]) for p in points if p.strategy == name)
        colour = COLOURS.get(FAMILY.get(name, name), OTHERS[at % len(OTHERS)])
        curve = sorted([(1.0, score), *own])
        axes.plot(*zip(*curve, strict=True), "-o", color=colour, ms=4, label=name)
        for along, found in own:
            axes.vlines(along, *interval(found, count), color=colour, alpha=0.3, lw=2)
    axes.set_title(f"{task} (n = {count:,})", size=10)
    axes.set_xlabel("times fewer multiply-accumulates than dense")
    axes.set_ylabel("%")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def interval(percent: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % limits of a share of `count`, in percent."""
    share, square = percent / 100, NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = NORMAL_95 * np.sqrt(spread) / (1 + square / count)
    return float(100 * (middle - half)), float(100 * (middle + half))
