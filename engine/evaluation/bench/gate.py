"""The early gate against dense, interpolation and ReuseViT: drift, arithmetic, time, agreement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.encodings import render_pool
from engine.evaluation.files import sample_files, video_files
from engine.evaluation.plots import plot_curves
from engine.evaluation.report import Cell, Report
from engine.vision.bound import Bounded, Scalable
from engine.vision.gate.build import build_earlygate
from engine.vision.gate.calibrate import kind_of
from engine.vision.gate.file import load_gate
from engine.vision.gate.limits import Limits
from engine.vision.model import BUILTIN, Model, load_model
from engine.vision.plain import load_classes, load_plain
from engine.vision.preprocess import Preprocessing
from engine.vision.strategies import build_strategy
from engine.vision.strategies.base import Chunk, Encoded, Strategy, reuse_rate
from engine.vision.strategies.dense import Dense
from engine.vision.strategies.earlygate import EarlyGate
from engine.vision.strategies.interpolate import Interpolate
from engine.vision.tower import VisionTower

UNTRAINED = (0.1, 0.15, 0.2, 0.3, 0.45)
SCALES = (0.5, 0.7, 1.0, 1.4, 2.0)
EVERY = (2, 3, 4)
COLUMNS = (
    *("strategy", "setting", "reuse", "MACs ×", "time ×", "drift", "p5 cosine", "worst"),
    *("nearest kept", "top-1 kept"),
)


@dataclass(frozen=True, slots=True)
class Point:
    """One strategy at one setting, over all frames of all streams."""

    strategy: str
    setting: float
    reuse: float
    macs: float  # of dense
    seconds: float  # of dense, same run
    drift: float
    p5: float  # 5th percentile of the cosine to dense
    worst: float  # smallest cosine
    nearest: float  # frames whose nearest other frame is dense's
    top1: float | None  # frames whose best class is dense's, where there are classes


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 24,
    seed: int = 7,
    plots: Path | None = None,
) -> Report:
    """Trace the curves on made-up test clips with a model; 32-bit floats on any device."""
    loaded = load_model(model, device=device, dtype=torch.float32)
    rendered = render_pool("test", clips, seed, size=loaded.tower.config.image_size, workers=0)
    streams = [frames.pixels for _, frames in rendered]
    title = "Reuse on the made-up world"
    return compare(loaded.tower, streams, _trained(loaded), plots=plots, title=title)


def run_plain(
    weights: Path,
    videos: Path,
    *,
    gate: Path | None = None,
    fps: float = 2.0,
    frames: int = 60,
    plots: Path | None = None,
) -> Report:
    """Trace the curves on a folder of videos with a plain ViT; `gate` holds calibrated limits."""
    tower, classes = load_plain(weights), load_classes(weights)
    config = tower.config
    size = config.image_size
    preprocessing = Preprocessing(size, size, config.mean, config.std)
    failed: list[tuple[str, str]] = []
    files = ((path.stem, path) for path in video_files(videos))
    found = sample_files(files, fps, preprocessing, failed=failed)
    streams = [each.pixels[:frames] for each in found]
    gates: dict[str, Scalable] = {}
    if gate is not None:
        gates["calibrated"] = EarlyGate(tower, load_gate(gate, config, weight_hash="").limits)
    title = "Reuse on natural clips"
    return compare(tower, streams, gates, classes=classes, plots=plots, title=title)


def run_bound(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 40,
    seed: int = 7,
    max_drift: float = 0.02,
) -> Report:
    """Hold every strategy under the bound on made-up test clips."""
    loaded = load_model(model, device=device, dtype=torch.float32)
    rendered = render_pool("test", clips, seed, size=loaded.tower.config.image_size, workers=0)
    streams = [frames.pixels for _, frames in rendered]
    tower = loaded.tower
    wild = EarlyGate(tower, Limits.uniform(tower.config, 1.0))
    strategies: dict[str, Scalable] = {"interpolate": Interpolate(tower, 3), "loose": wild}
    strategies |= _trained(loaded)
    return keep_bound(tower, streams, strategies, max_drift=max_drift)


def _trained(model: Model) -> dict[str, Scalable]:
    """What ships for the model."""
    gate = build_earlygate(model.tower, model.space, None, {})
    gates: dict[str, Scalable] = {"shipped gate": gate}
    if model.space.model == "builtin" and any(BUILTIN.glob("reusevit-*.safetensors")):
        reuse = build_strategy("reusevit", model.tower, space=model.space)
        gates["reusevit"] = cast(Scalable, reuse)
    return gates


def compare(
    tower: VisionTower,
    streams: Sequence[Tensor],
    gates: Mapping[str, Scalable],
    *,
    classes: Tensor | None = None,
    side_by_side: int = 8,
    plots: Path | None = None,
    title: str = "Reuse",
) -> Report:
    """Trace each strategy's curve over the same streams.

    Args:
        tower: the backbone.
        streams: uint8 `[F, 3, S, S]` each.
        gates: strategies to scale, by the name to show; untrained and interpolation are added.
        classes: `[C, E]` of a classifier on the embeddings.
        side_by_side: streams encoded together.
        plots: folder for the pictures.
        title: of the table.
    """
    dense = _Timed(Dense(tower), streams, side_by_side)
    entries: list[tuple[str, float, Strategy]] = [
        ("interpolate", float(every), Interpolate(tower, every)) for every in EVERY
    ]
    for threshold in UNTRAINED:
        gate = EarlyGate(tower, Limits.uniform(tower.config, threshold))
        entries.append(("untrained", threshold, gate))
    for name, strategy in gates.items():
        entries += [(name, scale, strategy.with_scale(scale)) for scale in SCALES]
    points = [
        _point(name, setting, _Timed(strategy, streams, side_by_side), dense, classes)
        for name, setting, strategy in entries
    ]
    if plots:
        _plot(points, plots, title)
    rows = [
        ["dense", None, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0 if classes is not None else None]
    ]
    for p in points:
        factors = [1 / p.macs, 1 / p.seconds]
        rows.append(
            [p.strategy, p.setting, p.reuse, *factors, p.drift, p.p5, p.worst, p.nearest, p.top1]
        )
    frames = sum(len(stream) for stream in streams)
    notes = (
        f"{len(streams)} streams, {frames} frames, {torch.get_num_threads()} threads on"
        f" {tower.device}; × is dense over the strategy, in one run",
    )
    return Report(title, COLUMNS, rows, notes, {"points": [asdict(point) for point in points]})


def keep_bound(
    tower: VisionTower,
    streams: Sequence[Tensor],
    strategies: Mapping[str, Scalable],
    *,
    max_drift: float = 0.02,
) -> Report:
    """Hold strategies under the bound and look at every frame whether it was kept."""
    dense = Dense(tower)
    exact = [dense.encode([Chunk(stream, last=True)])[0] for stream in streams]
    kinds = [kind_of(stream, tower.config.patch) for stream in streams]
    rows: list[list[Cell]] = []
    for name, strategy in strategies.items():
        bounded = Bounded(strategy, dense, max_drift=max_drift)
        encoded = bounded.encode([Chunk(stream, last=True) for stream in streams])
        drifts = [_drift(ours, theirs) for ours, theirs in zip(encoded, exact, strict=True)]
        for kind in (*sorted(set(kinds)), "all"):
            at = [i for i, each in enumerate(kinds) if kind in (each, "all")]
            means = torch.stack([drifts[i].mean() for i in at])
            macs = torch.cat([encoded[i].macs for i in at]).mean() / exact[0].macs[0]
            fell = sum(bounded.report[i].fell_back for i in at)
            audited = sum(bounded.report[i].audited for i in at)
            kept = float((means <= max_drift).float().mean())
            row: list[Cell] = [name, kind, len(at), kept, float(means.mean()), float(means.max())]
            rows.append([*row, float(1 / macs), audited / sum(len(streams[i]) for i in at), fell])
    columns = ("strategy", "content", "videos", "kept", "drift", "worst video", "MACs ×")
    notes = (f"bound {max_drift:g} on the mean drift of each video, 95 % confidence",)
    return Report("The bound", (*columns, "audited", "fell back"), rows, notes)


class _Timed:
    """All streams through one strategy."""

    def __init__(self, strategy: Strategy, streams: Sequence[Tensor], side_by_side: int) -> None:
        strategy.encode([Chunk(streams[0][:5], last=True)])  # what is set up once is not counted
        self.encoded: list[Encoded] = []
        self.tower = strategy.tower
        started = time.perf_counter()
        for start in range(0, len(streams), side_by_side):
            batch = streams[start : start + side_by_side]
            self.encoded += strategy.encode([Chunk(stream, last=True) for stream in batch])
        self.vectors = torch.cat([F.normalize(e.embeddings.float(), dim=-1) for e in self.encoded])
        self.seconds = (time.perf_counter() - started) / float(self.vectors.shape[0])
        self.macs = float(torch.cat([each.macs for each in self.encoded]).mean())


def _point(name: str, setting: float, ours: _Timed, dense: _Timed, classes: Tensor | None) -> Point:
    cosine = (ours.vectors * dense.vectors).sum(1)
    rates = torch.cat([reuse_rate(each, ours.tower) for each in ours.encoded])
    top1 = None
    if classes is not None:
        first, second = ((each.vectors @ classes.T).argmax(1) for each in (ours, dense))
        top1 = float((first == second).float().mean())
    return Point(
        strategy=name,
        setting=setting,
        reuse=float(rates.mean()),
        macs=ours.macs / dense.macs,
        seconds=ours.seconds / dense.seconds,
        drift=float(1 - cosine.mean()),
        p5=float(cosine.quantile(0.05)),
        worst=float(cosine.min()),
        nearest=float((_nearest(ours.vectors) == _nearest(dense.vectors)).float().mean()),
        top1=top1,
    )


def _nearest(vectors: Tensor) -> Tensor:
    similar = vectors @ vectors.T
    return similar.fill_diagonal_(-1).argmax(1)


def _drift(ours: Encoded, exact: Encoded) -> Tensor:
    return 1 - F.cosine_similarity(ours.embeddings.float(), exact.embeddings.float())


def _plot(points: Sequence[Point], folder: Path, title: str) -> None:
    for what, label, log in (("drift", "1 - mean cosine", True), ("p5", "5th percentile", False)):
        curves: dict[str, list[tuple[float, float]]] = {}
        for point in points:
            value = float(getattr(point, what))
            curves.setdefault(point.strategy, []).append((point.macs, value))
        name = f"{title.lower().replace(' ', '-')}-{what}.png"
        plot_curves(
            folder / name, curves, title=title, x="multiply-accumulates / dense", y=label, log_y=log
        )
