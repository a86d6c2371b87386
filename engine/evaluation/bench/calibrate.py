"""Calibration judged where it counts: on videos that it did not see."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.evaluation.bench.bound import plain_streams
from engine.evaluation.report import Cell, Report
from engine.training.earlygate.calibrate import calibrate
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.interpolate import Interpolate
from engine.vision.streaming.cuts import brightness, changes, kind_of, sketch
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Strategy, reuse_rate

COLUMNS = ("strategy", "content", "videos", "reuse", "MACs ×", "drift", "p5", "worst")
SCALES = (0.7, 0.85, 1.0)  # of the limits found; a sample's mean is no other's
START = 0.2
Found = dict[str, list[dict[str, Any]]]


def run_plain(
    weights: Path,
    videos: Path,
    *,
    fps: float = 2.0,
    frames: int = 80,
    folds: int = 3,
    rounds: int = 0,
    max_drift: float = 0.02,
) -> Report:
    """Calibrate a plain ViT's gate on some of a folder's videos and judge it on the others.

    Args:
        weights: `.npz` in timm's names.
        videos: a folder.
        fps: sampled frames per second of video.
        frames: of each video, at most.
        folds: parts that the videos are dealt into by how much they move; each is judged once.
        rounds: of the search over layers, after one factor for all of them.
        max_drift: mean drift that the videos seen are brought to.
    """
    tower = load_plain(weights)
    streams, failed = plain_streams(tower, videos, fps=fps, frames=frames)
    if len(streams) < folds:
        raise UsageError(f"{len(streams)} videos cannot be dealt into {folds} folds")
    found = cross_validate(tower, streams, folds=folds, rounds=rounds, max_drift=max_drift)
    told = f"{len(streams)} videos, {sum(map(len, streams)):,} frames at {fps:g}/s, {weights.stem}"
    notes = (
        f"{told}; calibrated to drift {max_drift:g} on the other videos of {folds} folds, means"
        " over videos",
        *(f"left out {name}: {reason}" for name, reason in failed),
    )
    title = "Calibration on videos that it did not see"
    return Report(title, COLUMNS, _rows(found), notes, {"by_video": found})


def cross_validate(
    tower: VisionTower, streams: Sequence[Tensor], *, folds: int, rounds: int, max_drift: float
) -> Found:
    """Judge every stream by what was calibrated without it; also untrained and interpolated."""
    patch = tower.config.patch
    moves = [
        float(changes(brightness(sketch(stream, patch)), None)[1:].mean()) for stream in streams
    ]
    order = sorted(range(len(streams)), key=lambda at: moves[at])
    untrained = EarlyGate(tower, FixedLimits.uniform(tower.config, START))
    found: Found = {"untrained": _judge(tower, untrained, streams, range(len(streams)))}
    for every in (2, 3, 4):
        strategy = Interpolate(tower, every)
        found[f"interpolate {every}"] = _judge(tower, strategy, streams, range(len(streams)))
    for fold in range(folds):
        held = order[fold::folds]
        seen = [streams[at] for at in order if at not in held]
        made = calibrate(untrained, seen, max_drift=max_drift, aim=1.0, rounds=rounds)
        gate = EarlyGate(tower, made.limits)
        for scale in SCALES:
            judged = _judge(tower, gate.with_scale(scale), [streams[at] for at in held], held)
            found.setdefault(f"calibrated ×{scale:g}", []).extend(
                {**each, "fold": fold} for each in judged
            )
    return found


def _judge(
    tower: VisionTower, strategy: Strategy, streams: Sequence[Tensor], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    chunks = [Chunk(stream, last=True) for stream in streams]
    exact, ours = Dense(tower).encode(chunks), strategy.encode(chunks)
    rows = []
    for number, stream, dense, each in zip(numbers, streams, exact, ours, strict=True):
        drift = 1 - F.cosine_similarity(each.embeddings.float(), dense.embeddings.float())
        rows.append(
            {
                "video": number,
                "kind": kind_of(stream, tower.config.patch),
                "frames": len(stream),
                "reuse": float(reuse_rate(each, tower).mean()),
                "macs": float(each.macs.mean()) / dense_macs(tower.config),
                "drift": float(drift.mean()),
                "p95": float(drift.quantile(0.95)),
                "worst": float(drift.max()),
            }
        )
    return rows


def _rows(found: Found) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name, videos in found.items():
        for kind in (*sorted({each["kind"] for each in videos}), "all"):
            chosen = [each for each in videos if kind in (each["kind"], "all")]

            def mean(what: str, chosen: list[dict[str, Any]] = chosen) -> float:
                return float(torch.tensor([each[what] for each in chosen]).mean())

            worst = 1 - max(each["worst"] for each in chosen)
            row: list[Cell] = [name, kind, len(chosen), mean("reuse"), 1 / mean("macs")]
            rows.append([*row, mean("drift"), 1 - mean("p95"), worst])
    return rows
