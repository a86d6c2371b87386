"""Strategies held under the drift bound, every frame looked at."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.encodings import render_pool
from engine.evaluation.report import Cell, Report
from engine.vision.bound import Bounded, Scalable
from engine.vision.gate.build import build_earlygate
from engine.vision.gate.calibrate import kind_of
from engine.vision.gate.limits import Limits
from engine.vision.model import BUILTIN, Model, load_model
from engine.vision.strategies import build_strategy
from engine.vision.strategies.base import Chunk, Encoded
from engine.vision.strategies.dense import Dense
from engine.vision.strategies.earlygate import EarlyGate
from engine.vision.strategies.interpolate import Interpolate
from engine.vision.tower import VisionTower


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
    wild = EarlyGate(tower, Limits.uniform(tower.config, 1.0))
    strategies: dict[str, Scalable] = {"interpolate": Interpolate(tower, 3), "loose": wild}
    strategies |= _trained(loaded)
    return keep_bound(tower, streams, strategies, max_drift=max_drift)


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
