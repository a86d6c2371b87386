"""What fewer bits cost in accuracy: drift from dense in float32, and what answers change."""

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import torch

from engine.evaluation.bench import natural, strategies
from engine.evaluation.compare import BRIEF, DENSE, TASKS, Comparison, Point, Setting
from engine.evaluation.paired import Paired
from engine.evaluation.report import Cell, Report
from engine.vision.backbone.precision import quantise
from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.dense import Dense


def run(*, model: str = "builtin", device: str = "auto", clips: int = 60, seed: int = 7) -> Report:
    """Compare on a pool of made-up test clips; the arguments are those of `bench strategies`."""
    return tabulate(
        strategies.run(model=model, device=device, clips=clips, seed=seed, choose=precisions)
    )


def run_plain(weights: Path, videos: Path) -> Report:
    """Compare a plain vision transformer on a folder of videos."""
    return tabulate(natural.run(weights, videos, choose=precisions))


def precisions(tower: VisionTower) -> list[Setting]:
    """Dense by plain PyTorch, which defines each precision, on whatever device the tower is."""
    half = deepcopy(tower).to(torch.bfloat16)
    return [
        Setting(DENSE, "", Dense(tower)),
        Setting("bf16", "", Dense(half)),
        Setting("fp8", "", Dense(quantise(deepcopy(half)))),
    ]


def tabulate(found: Comparison) -> Report:
    """Drift, and what of the answers is left."""
    natural = found.points[0].nearest is not None
    told = ("nearest", "top-1") if natural else (*TASKS, "brief")
    rows = [[*_drift(point), *(_agreement(point) if natural else _losses(point))]
            for point in found.points[1:]]  # fmt: skip
    what = (
        "nearest, top-1: share of frames whose nearest other frame, or best class, is dense's"
        if natural
        else "tasks: percent lost of dense's score, ± 95 %, on the same items"
    )
    notes = (
        *found.notes,
        "drift is 1 - cosine to dense in float32; p5 and worst are cosines",
        what,
    )
    columns = ("precision", "drift", "p5", "worst", *told)
    return Report(f"Precision: {found.title}", columns, rows, notes, asdict(found))


def _drift(point: Point) -> list[Cell]:
    return [point.label, round(point.drift, 5), round(point.p5, 4), round(point.worst, 4)]


def _agreement(point: Point) -> list[Cell]:
    return [None if each is None else round(each, 3) for each in (point.nearest, point.top1)]


def _losses(point: Point) -> list[Cell]:
    found = (point.tasks.get(name) for name in (*TASKS, BRIEF))
    return [None if each is None else _loss(each) for each in found]


def _loss(paired: Paired) -> str:
    return f"{100 * paired.loss:+.1f} ±{50 * (paired.high - paired.low):.1f}"
