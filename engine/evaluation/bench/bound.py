"""Strategies held under the drift bound, every frame looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.bench.frontier import Point, cost_at
from engine.evaluation.encodings import render_pool
from engine.evaluation.files import sample_files, video_files
from engine.evaluation.report import Cell, Report
from engine.ingesting.plan import STRETCH_SECONDS
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.bound import Bounded
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.build import build_earlygate
from engine.vision.earlygate.file import load_gate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.interpolate import Interpolate
from engine.vision.model import Model, load_model
from engine.vision.registry import build_strategy
from engine.vision.streaming.cuts import kind_of
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Encoded, PartOf, Scalable

LANES = 4  # stretches that an ingest encodes side by side on a CPU
SCALES = (0.25, 0.5, 0.71, 1.0, 1.41, 2.0)  # that a strategy is measured at without a bound
UNTRAINED = 0.2  # threshold of every layer where nothing is calibrated
BRIDGE = 0.03  # sides that agree by it, with nothing calibrated


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 40,
    seed: int = 7,
    max_drift: float = 0.02,
    videos: Path | None = None,
    fps: float = 2.0,
) -> Report:
    """Hold every strategy under the bound, on made-up test clips or on a folder of videos."""
    loaded = load_model(model, device=device, dtype=torch.float32)
    tower, failed = loaded.tower, list[tuple[str, str]]()
    if videos is None:
        rendered = render_pool("test", clips, seed, size=tower.config.image_size, workers=0)
        streams = [frames.pixels for _, frames in rendered]
    else:
        streams, failed = sampled_streams(videos, loaded.preprocessing, fps=fps)
    strategies: dict[str, Scalable] = {"interpolate": Interpolate(tower, 3)}
    if videos is None:
        strategies["loose"] = EarlyGate(tower, FixedLimits.uniform(tower.config, 1.0))
    strategies |= _trained(loaded)
    stretch = round(STRETCH_SECONDS * fps)
    report = keep_bound(tower, streams, strategies, max_drift=max_drift, stretch=stretch)
    return report if videos is None else _named(report, streams, fps, model, failed)


def run_plain(
    weights: Path,
    videos: Path,
    *,
    limits: Path | None = None,
    fps: float = 2.0,
    frames: int = 160,
    max_drift: float = 0.02,
    scales: Sequence[float] = SCALES,
) -> Report:
    """Hold the early gate under the bound on a folder of videos, with a plain ViT.

    Untrained, with and without bridging, and with calibrated `limits`; at most `frames` of each
    video, and at least two.
    """
    tower = load_plain(weights)
    streams, failed = plain_streams(tower, videos, fps=fps, frames=frames)
    gate = EarlyGate(tower, FixedLimits.uniform(tower.config, UNTRAINED))
    strategies: dict[str, Scalable] = {
        "interpolate": Interpolate(tower, 3),
        "untrained": gate,
        "bridging": replace(gate, bridge=Bridge(BRIDGE)),
    }
    if limits is not None:
        made = load_gate(limits, tower.config, weight_hash="")
        strategies["calibrated"] = EarlyGate(tower, made.limits, bridge=made.card.bridge)
    stretch = round(STRETCH_SECONDS * fps)
    report = keep_bound(
        tower, streams, strategies, max_drift=max_drift, stretch=stretch, scales=scales
    )
    return _named(report, streams, fps, weights.stem, failed)


def plain_streams(
    tower: VisionTower, videos: Path, *, fps: float, frames: int
) -> tuple[list[Tensor], list[tuple[str, str]]]:
    """Sample a folder's videos for a plain tower; also those left out, each with its reason."""
    config = tower.config
    preprocessing = Preprocessing(config.image_size, config.image_size, config.mean, config.std)
    streams, failed = sampled_streams(videos, preprocessing, fps=fps)
    return [each[:frames] for each in streams], failed


def sampled_streams(
    videos: Path, preprocessing: Preprocessing, *, fps: float
) -> tuple[list[Tensor], list[tuple[str, str]]]:
    """Sample a folder's videos of two frames and more; also those left out, with the reason."""
    failed: list[tuple[str, str]] = []
    files = ((path.stem, path) for path in video_files(videos))
    found = sample_files(files, fps, preprocessing, failed=failed)
    return [each.pixels for each in found if len(each.pixels) > 1], failed


@dataclass(frozen=True, slots=True)
class Held:
    """A video under the bound, every frame looked at, and what it costs without."""

    frames: int
    drift: float
    cost: float  # of dense, audits paid
    audited: int
    fell_back: bool
    alone: float  # cost of dense at the same drift without a bound


def keep_bound(
    tower: VisionTower,
    streams: Sequence[Tensor],
    strategies: Mapping[str, Scalable],
    *,
    max_drift: float = 0.02,
    stretch: int = 64,
    scales: Sequence[float] = SCALES,
) -> Report:
    """Hold strategies under the bound and look at every frame whether it was kept.

    Videos are encoded in stretches of `stretch` frames, a few side by side, as an ingest does.
    What each costs without a bound is measured at `scales`.
    """
    dense = Dense(tower)
    videos = [_cut(stream, at, stretch) for at, stream in enumerate(streams)]
    exact = [_join(dense.encode(video)) for video in videos]
    kinds = [kind_of(stream, tower.config.patch) for stream in streams]
    rows: list[list[Cell]] = []
    for name, strategy in strategies.items():
        bounded = Bounded(strategy, dense, max_drift=max_drift)
        held = [_hold(bounded, strategy, scales, *each) for each in zip(videos, exact, strict=True)]
        for kind in (*sorted(set(kinds)), "all"):
            own = [each for each, k in zip(held, kinds, strict=True) if kind in (k, "all")]
            rows.append([name, kind, *_told(own, max_drift)])
    columns = ("strategy", "content", "videos", "kept", "drift", "worst", "MACs ×", "audited")
    notes = (
        f"bound {max_drift:g} on the mean drift of each video, 95 % confidence;"
        " every frame looked at; audits are paid for in MACs",
        "of its gain: MACs at the same drift without a bound, by the best of fixed scales and of"
        " mixing them with dense, over those under the bound",
    )
    return Report("The bound", (*columns, "dense", "of its gain", "of the bound"), rows, notes)


def _cut(stream: Tensor, key: int, stretch: int) -> list[Chunk]:
    part = PartOf(key, len(stream))
    return [Chunk(each, last=True, part_of=part) for each in stream.split(stretch)]


def _hold(
    bounded: Bounded,
    strategy: Scalable,
    scales: Sequence[float],
    chunks: Sequence[Chunk],
    exact: Encoded,
) -> Held:
    ours, audited, fell_back = list[Encoded](), 0, False
    for at in range(0, len(chunks), LANES):
        ours += bounded.encode(chunks[at : at + LANES])
        audited += sum(report.audited for report in bounded.report)
        fell_back |= any(report.fell_back for report in bounded.report)
    drift, cost = _measure(ours, exact)
    points = [_measure(strategy.with_scale(scale).encode(chunks), exact) for scale in scales]
    frames = len(exact.embeddings)
    return Held(frames, drift, cost, audited, fell_back, cost_at(points, drift))


def _measure(ours: Sequence[Encoded], exact: Encoded) -> Point:
    """Return mean drift and cost of dense."""
    together = _join(ours)
    return float(_drift(together, exact).mean()), float(together.macs.sum() / exact.macs.sum())


def _join(parts: Sequence[Encoded]) -> Encoded:
    embeddings, computed, macs, full = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("embeddings", "computed", "macs", "full")
    )
    return Encoded(embeddings, computed, macs, full, None)


def _told(videos: Sequence[Held], max_drift: float) -> list[Cell]:
    frames = np.array([each.frames for each in videos])
    drifts = np.array([each.drift for each in videos])
    cost = float(np.average([each.cost for each in videos], weights=frames))
    alone = float(np.average([each.alone for each in videos], weights=frames))
    mean = float(drifts.mean())
    return [
        len(videos),
        float((drifts <= max_drift).mean()),
        mean,
        float(drifts.max()),
        1 / cost,
        sum(each.audited for each in videos) / int(frames.sum()),
        sum(each.fell_back for each in videos),
        alone / cost,
        mean / max_drift,
    ]


def _named(
    report: Report, streams: Sequence[Tensor], fps: float, model: str, failed: list[tuple[str, str]]
) -> Report:
    told = f"{len(streams)} videos, {sum(map(len, streams)):,} frames at {fps:g}/s, {model}"
    left_out = tuple(f"left out {name}: {reason}" for name, reason in failed)
    return replace(report, notes=(*report.notes, told, *left_out))


def _trained(model: Model) -> dict[str, Scalable]:
    """What ships for the model."""
    gate = build_earlygate(model.tower, model.space, None, {})
    gates: dict[str, Scalable] = {"shipped gate": gate}
    if model.space.model == "builtin" and any(BUILTIN.glob("reusevit-*.safetensors")):
        reuse = build_strategy("reusevit", model.tower, space=model.space)
        gates["reusevit"] = cast(Scalable, reuse)
    return gates


def _drift(ours: Encoded, exact: Encoded) -> Tensor:
    return 1 - F.cosine_similarity(ours.embeddings.float(), exact.embeddings.float())
