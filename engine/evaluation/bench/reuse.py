"""ReuseViT on a CPU: groups of four frames at imposed reuse against dense."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from engine.evaluation.report import Cell, Report
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.strategy import Chunk, Encoded

SHAPES = {
    "B/16": VisionConfig(12, 768, 12, 3072, 16, 224, 512),
    "L/14": VisionConfig(24, 1024, 16, 4096, 14, 224, 768),
}
COLUMNS = ("shape", "reuse", "dense ms", "reusevit ms", "time ×", "MACs ×")


def run(
    *,
    shapes: Sequence[str] = ("B/16", "L/14"),
    rates: Sequence[float] = (0.5, 0.85, 0.95),
    layers: int = 0,
    rounds: int = 5,
    compiled: bool = True,
) -> Report:
    """Time groups of four frames with imposed reuse against dense, interleaved, random weights.

    Args:
        shapes: names of `SHAPES`.
        rates: shares of all tokens that are reused, at every gate.
        layers: of each tower; 0 for its own number.
        rounds: timed repetitions; the median counts.
        compiled: also compile dense, and compare with the faster of the two.
    """
    rows: list[list[Cell]] = []
    for shape in shapes:
        config = _cut(SHAPES[shape], layers)
        torch.manual_seed(0)
        tower = VisionTower(config).eval().requires_grad_(False)
        rows += [[shape, *_race(tower, rate, rounds, compiled=compiled)] for rate in rates]
    notes = (
        f"4 frames after a full one, float32, {torch.get_num_threads()} threads, median of"
        f" {rounds} rounds in turns",
        "dense is the faster of eager and compiled" if compiled else "dense is eager",
    )
    return Report("ReuseViT on this CPU", COLUMNS, rows, notes)


def _race(tower: VisionTower, rate: float, rounds: int, *, compiled: bool) -> list[Cell]:
    config, random = tower.config, torch.Generator().manual_seed(1)
    patches = config.tokens - 1
    share = rate * config.tokens / patches  # the class token is never reused

    def forced(_gate: int, frames: int) -> Tensor:
        return torch.rand(frames, patches, generator=random) < share

    modules = ReuseModules(config, ReuseConfig(cue="none"))
    strategy = ReuseViT(tower, modules, forced=forced)
    pixels = torch.randint(0, 256, (5, 3, 224, 224), dtype=torch.uint8, generator=random)
    (first,) = strategy.encode([Chunk(pixels[:1])])
    values = tower.normalise(pixels[1:])
    forwards: list[Callable[[Tensor], Tensor]] = [tower]
    if compiled:
        forwards.append(torch.compile(tower))

    def reuse() -> Encoded:
        return strategy.encode([Chunk(pixels[1:], first.state)])[0]

    with torch.inference_mode():
        works: list[Callable[[], Any]] = [reuse, *(partial(each, values) for each in forwards)]
        ours, *dense = _interleaved(works, rounds)
    found = reuse()
    reached = 1 - found.computed[:, 1:].double().mean().item() / config.tokens
    macs = dense_macs(config) / found.macs.mean().item()
    theirs = min(dense)
    return [round(reached, 3), theirs * 250, ours * 250, theirs / ours, macs]


def _interleaved(works: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each work, taken in turns after one round of warming up."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, times in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            if number:
                times.append(time.perf_counter() - started)
    return [median(times) for times in taken]


def _cut(config: VisionConfig, layers: int) -> VisionConfig:
    return VisionConfig(
        layers or config.layers,
        config.width,
        config.heads,
        config.mlp,
        config.patch,
        config.image_size,
        config.dimension,
    )
