"""Strategies held under the drift bound, every frame looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.encodings import render_pool
from engine.evaluation.files import sample_files, video_files
from engine.evaluation.report import Cell, Report
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.bound import Bounded, Scalable
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
from engine.vision.streaming.strategy import Chunk, Encoded

UNTRAINED = 0.2  # threshold of every layer where nothing is calibrated
BRIDGE = 0.03  # sides that agree by it, with nothing calibrated


def run(
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
    wild = EarlyGate(tower, FixedLimits.uniform(tower.config, 1.0))
    strategies: dict[str, Scalable] = {"interpolate": Interpolate(tower, 3), "loose": wild}
    strategies |= _trained(loaded)
    return keep_bound(tower, streams, strategies, max_drift=max_drift)


def run_plain(
    weights: Path,
    videos: Path,
    *,
    limits: Path | None = None,
    fps: float = 2.0,
    frames: int = 160,
    max_drift: float = 0.02,
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
    report = keep_bound(tower, streams, strategies, max_drift=max_drift)
    told = f"{len(streams)} videos, {sum(map(len, streams)):,} frames at {fps:g}/s, {weights.stem}"
    left_out = tuple(f"left out {name}: {reason}" for name, reason in failed)
    return replace(report, notes=(*report.notes, told, *left_out))


def plain_streams(
    tower: VisionTower, videos: Path, *, fps: float, frames: int
) -> tuple[list[Tensor], list[tuple[str, str]]]:
    """Sample a folder's videos for a plain tower; also those left out, each with its reason."""
    config = tower.config
    preprocessing = Preprocessing(config.image_size, config.image_size, config.mean, config.std)
    failed: list[tuple[str, str]] = []
    files = ((path.stem, path) for path in video_files(videos))
    found = sample_files(files, fps, preprocessing, failed=failed)
    streams = [each.pixels[:frames] for each in found if len(each.pixels) > 1]
    return streams, failed


def keep_bound(
    tower: VisionTower,
    streams: Sequence[Tensor],
    strategies: Mapping[str, Scalable],
    *,
    max_drift: float = 0.02,
) -> Report:
    """Hold strategies under the bound and look at every frame whether it was kept."""
    dense = Dense(tower)
    exact = dense.encode([Chunk(stream, last=True) for stream in streams])
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
    columns = ("strategy", "content", "videos", "kept", "drift", "worst", "MACs ×")
    notes = (
        f"bound {max_drift:g} on the mean drift of each video, 95 % confidence;"
        " every frame looked at; audits are paid for in MACs",
    )
    return Report("The bound", (*columns, "audited", "dense"), rows, notes)


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
