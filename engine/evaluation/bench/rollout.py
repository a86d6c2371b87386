"""How much time rollout-guided pruning saves towers of frames, of detectors and of clips."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import nn

from engine.errors import UsageError, unknown
from engine.evaluation.bench.timed import TOWERS, random_pixels, random_tower
from engine.evaluation.report import Cell, Report
from engine.vision.backbone.factorised import (
    FactorisedConfig,
    FactorisedTower,
    clip_macs,
    spatial_shape,
    temporal_macs,
)
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.windowed import WindowedConfig, WindowedTower
from engine.vision.model import pick_device
from engine.vision.rollout.build import build_rgtp
from engine.vision.rollout.clips import ClipPruning, RolledClips
from engine.vision.rollout.fused_windows import roll_windows
from engine.vision.rollout.select import PatchShares
from engine.vision.rollout.windows import WindowedRollout, windowed_macs
from engine.vision.streaming.stepper import Batch

GLOBAL = (2, 5, 8, 11)  # layers of ViTDet-B that see all
DETECTORS = {
    "ViTDet-B 672": WindowedConfig(
        12, 768, 12, 3072, 16, 42, 14, 14, frozenset(range(12)) - frozenset(GLOBAL), relative=True
    ),
    "ViTDet tiny": WindowedConfig(3, 32, 2, 64, 8, 6, 6, 3, frozenset({0, 1}), relative=True),
}
KEEP = {"ViTDet-B 672": (384 / 1764, 196 / 1764), "ViTDet tiny": (0.3,)}
CLIPS = {
    "ViViT-B": FactorisedConfig(spatial_shape(12, 768, 12, 3072, 16, 2, 224), 32, 4, 400),
    "ViViT tiny": FactorisedConfig(spatial_shape(2, 32, 2, 64, 8, 2, 32), 8, 1, 5),
}
CLIP_KEEP = (0.49, 0.215, 0.066)  # published for Kinetics, with resets on half of the patches
CLASS_TOKEN = PatchShares(0.25)
Cycle = Callable[[], object]


def run(
    *,
    towers: tuple[str, ...] = ("L/14", "ViTDet-B 672"),
    device: str = "auto",
    streams: int = 16,
    every: int = 8,
    repeats: int = 5,
    compiled: bool = True,
) -> Report:
    """Time cycles of `every` frames, the first of them full, beside dense in the same run.

    Of clips a cycle is the whole of them, told as `every` frames.
    """
    place = pick_device(device)
    rows: list[tuple[Cell, ...]] = []
    for name in towers:
        if name in TOWERS:
            dense, pruned = _frames(name, place, streams, every, compiled)
        elif name in DETECTORS:
            dense, pruned = _detector(name, place, streams, every, compiled)
        elif name in CLIPS:
            dense, pruned = _clips(name, place, streams, every, compiled)
        else:
            raise UsageError(unknown("tower", name, [*TOWERS, *DETECTORS, *CLIPS]))
        took = _timed([dense, *(cycle for *_, cycle in pruned)], repeats, place)
        rows.append((name, "dense", None, 1.0, 1e3 * took[0] / every, 1.0))
        for (keep, saved, _), seconds in zip(pruned, took[1:], strict=True):
            ratio = took[0] / seconds
            rows.append((name, "rgtp", keep, saved, 1e3 * seconds / every, ratio))
    how = "under torch.compile" if compiled else "not compiled"
    return Report(
        title=f"rollout-guided pruning, {streams} streams, full every {every} frames",
        columns=("tower", "forward", "keep", "MACs ×", "ms a frame of all", "×"),
        rows=rows,
        notes=(
            f"random weights and frames on {place}; dense is {how}, pruning our kernels on a GPU,"
            f" else plain PyTorch; medians of {repeats} cycles, in turns",
        ),
    )


def _frames(
    name: str, place: torch.device, streams: int, every: int, compiled: bool
) -> tuple[Cycle, list[tuple[float, float, Cycle]]]:
    """Cycles of a frame tower, dense and pruned."""
    tower = random_tower(TOWERS[name], place)
    pixels = [random_pixels(tower, streams) for _ in range(every)]
    whole = torch.compile(tower) if compiled else tower
    runs = build_rgtp(tower, None, None, {"keep": CLASS_TOKEN.keep, "every": every}).stepper
    runs.begin(streams)
    places, macs = np.arange(streams), 0.0

    def dense() -> None:
        for each in pixels:
            whole(tower.normalise(each))

    def pruned() -> None:
        for at, each in enumerate(pixels):
            full = np.full(streams, at == 0)
            runs.step(Batch(np.zeros_like(places), places, full, each))

    config = tower.config
    kept = CLASS_TOKEN.count(config.side**2) + int(config.class_token)
    for at in range(every):
        tokens = config.tokens if at == 0 else kept
        computed = torch.full((1, config.layers), tokens)
        macs += float(runs.macs(computed, torch.tensor([at == 0])).sum())
    return dense, [(CLASS_TOKEN.keep, every * dense_macs(config) / macs, pruned)]


def _detector(
    name: str, place: torch.device, streams: int, every: int, compiled: bool
) -> tuple[Cycle, list[tuple[float, float, Cycle]]]:
    """Cycles of a detector's tower, dense and pruned."""
    config = DETECTORS[name]
    torch.manual_seed(0)
    tower = WindowedTower(config)
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    kind = torch.bfloat16 if place.type == "cuda" else torch.float32
    tower = tower.to(place, kind).eval().requires_grad_(False)
    edge = config.side * config.patch
    frames = [torch.randn(streams, 3, edge, edge, device=place, dtype=kind) for _ in range(every)]
    whole = torch.compile(tower) if compiled else tower

    def dense() -> None:
        for each in frames:
            whole(each)

    def cycle(runs: WindowedRollout) -> Cycle:
        def pruned() -> None:
            runs.begin()
            for each in frames:
                runs.step(each)

        return pruned

    made = []
    full = windowed_macs(config, None)
    for keep in (1.0, *KEEP[name]):
        runs = roll_windows(tower, keep, every)
        guided = windowed_macs(config, runs.kept)
        saved = every * full / (full + (every - 1) * guided)
        made.append((keep, saved, cycle(runs)))
    return dense, made


def _clips(
    name: str, place: torch.device, streams: int, every: int, compiled: bool
) -> tuple[Cycle, list[tuple[float, float, Cycle]]]:
    """Whole clips of ViViT's factorised encoder, both halves of it."""
    config = CLIPS[name]
    kind = torch.bfloat16 if place.type == "cuda" else torch.float32
    torch.manual_seed(0)
    tower = FactorisedTower(config).to(place).eval().requires_grad_(False)
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    nn.init.normal_(tower.spatial.position, std=0.1)
    tower = tower.to(kind)
    size = (streams, config.num_frames, 3, config.image_size, config.image_size)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, device=place)
    whole = torch.compile(tower) if compiled else tower

    def dense() -> None:
        whole(tower.normalise(pixels))

    def cycle(runs: RolledClips) -> Cycle:
        def pruned() -> None:
            runs.score(pixels)

        return pruned

    full, made = clip_macs(config), []
    for keep in CLIP_KEEP:
        runs = RolledClips(tower, ClipPruning(keep, every))
        macs = runs.macs + temporal_macs(config)
        made.append((keep, full / macs, cycle(runs)))
    return dense, made


@torch.inference_mode()
def _timed(cycles: list[Cycle], repeats: int, place: torch.device) -> list[float]:
    """Median seconds of each cycle; they take turns, and the first turn warms up."""
    took: list[list[float]] = [[] for _ in cycles]
    for turn in range(repeats + 1):
        for cycle, seconds in zip(cycles, took, strict=True):
            begun = perf_counter()
            cycle()
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            if turn:
                seconds.append(perf_counter() - begun)
    return [median(seconds) for seconds in took]
