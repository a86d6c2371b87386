"""What packets alone say of change: pictures that have to be decoded, and how the gate keeps it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from engine.evaluation.bench.cameras import CODINGS, write_camera
from engine.evaluation.bench.end_to_end import load_any
from engine.evaluation.report import Cell, Report
from engine.ingesting.carry import (
    FLOOR,
    CodedGroup,
    Drifts,
    draw_groups,
    groups_of,
    judge,
    pictures_for,
)
from engine.ingesting.gate import FEWEST, WORTH
from engine.video.coded import CodedPictures, read_coded
from engine.video.gop import index_gops
from engine.video.hardware import pick
from engine.video.sample import get_frames_at, sample_times
from engine.vision.backbone.preprocess import prepare
from engine.vision.model import Model
from engine.vision.streaming.dense import Dense

RISK = 0.05
Sizes = NDArray[np.float64]  # bytes of the pictures after a group's key one, to its last sampled


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file, every sampled frame and key picture of which was embedded."""

    name: str
    groups: list[CodedGroup]
    drifts: list[Drifts]
    sizes: list[Sizes]
    keys: list[float]  # bytes of the key pictures
    floor: float
    pictures: int
    rows: int


Statistic = Callable[[WatchedFile, int], float]
STATISTICS: dict[str, Statistic] = {
    "bytes": lambda file, at: float(file.sizes[at].sum()),
    "÷ key": lambda file, at: float(file.sizes[at].sum() / file.keys[at]),
    "largest": lambda file, at: float(file.sizes[at].max(initial=0.0)),
    "above noise": lambda file, at: file.groups[at].change[0],
    "best": lambda file, at: (
        file.groups[at].lost(inf, file.drifts[at]) / max(1, file.groups[at].pictures(-1) - 1)
    ),
}


def run(
    paths: Sequence[str | Path] = (),
    *,
    seed: int = 0,
    cameras: int = 2,
    model: str = "builtin",
    device: str = "auto",
    fps: float = 2.0,
    max_drift: float = 0.02,
    draws: int = 60,
) -> Report:
    """Rank groups of pictures by statistics of packets, and draw the gate's audit many times.

    Args:
        paths: video files; none: made-up cameras, each coded four ways.
        seed: of the first made-up camera; the others follow.
        cameras: how many are made up.
        model: as `bench ingest --end-to-end` takes it.
        device: where it runs.
        fps: sampled frames per second.
        max_drift: mean drift of all frames up to which groups are left to their key picture.
        draws: of the gate's audit.
    """
    loaded = load_any(model, device)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(path) for path in paths] or [
            write_camera(Path(folder) / f"{seed + at} {name}.mp4", seed + at, coding)
            for at in range(cameras)
            for name, coding in CODINGS.items()
        ]
        watched = [_watch(loaded, path, fps) for path in files]
    rows = [_row(file, max_drift, draws) for file in watched]
    means: list[Cell] = [
        float(np.mean(known)) if (known := [v for v in column if isinstance(v, float)]) else None
        for column in list(zip(*rows, strict=True))[1:]
    ]
    return Report(
        title=f"packets: share of the pictures decoded at a mean drift of {max_drift:g}, {model}",
        columns=("file", "to the last", *STATISTICS, "random", "gate", "gate drift", "kept"),
        rows=[*rows, ["mean", *means]],
        notes=(
            f"{fps:g} frames/s; to the last: each group of pictures to its last sampled one, which"
            " loses nothing; then groups in the order of a statistic are left to their key picture,"
            " until the drift is reached",
            f"gate: {draws} draws of its audit, the audit's pictures included; kept: share of the"
            f" draws within the bound, promised {1 - RISK:g}; – where it is off by rule: fewer than"
            f" {FEWEST} groups",
        ),
    )


def _watch(model: Model, path: Path, fps: float) -> WatchedFile:
    coded, gops = read_coded(path), index_gops(path)
    times = sample_times(gops[0].start_seconds, gops[-1].stop_seconds, fps)
    shown = [place for _, place in pick(coded.seconds.tolist(), times)]
    groups = groups_of(coded, shown)
    places = sorted({*shown, *(group.key for group in groups)})
    frames = get_frames_at(path, [float(coded.seconds[place]) for place in places], gops=gops)
    pixels = [prepare(frame.image, model.preprocessing) for _, frame in frames]
    with torch.inference_mode():
        embedded = Dense(model.tower).embed(torch.stack(pixels).to(model.device)).float()
    vectors = dict(zip(places, F.normalize(embedded, dim=-1).cpu().double().numpy(), strict=True))
    drifts = []
    for group in groups:
        own = np.stack([vectors[place] for place in (group.key, *group.shown)])
        drifts.append(np.maximum(1 - own @ own[1:].T, 0.0))
    return WatchedFile(
        path.stem,
        groups,
        drifts,
        [_sizes(coded, group) for group in groups],
        [float(coded.size_bytes[group.key]) for group in groups],
        float(np.quantile(coded.size_bytes[~coded.key], FLOOR)),
        len(coded.key),
        len(shown),
    )


def _sizes(coded: CodedPictures, group: CodedGroup) -> Sizes:
    return coded.size_bytes[group.key + 1 : group.shown[-1] + 1].astype(np.float64)


def _row(file: WatchedFile, max_drift: float, draws: int) -> list[Cell]:
    count = len(file.groups)
    shares: list[Cell] = [
        _decoded(file, np.argsort([statistic(file, at) for at in range(count)]), max_drift)
        for statistic in STATISTICS.values()
    ]
    random = np.random.default_rng(0)
    chance = np.mean([_decoded(file, random.permutation(count), max_drift) for _ in range(20)])
    lossless = pictures_for(file.groups, -1, {}) / file.pictures
    gate: list[Cell] = [None, None, None]
    if count >= FEWEST:
        found = np.array([_drawn(file, max_drift, draw) for draw in range(draws)])
        pictures, drift = found.mean(0)
        gate = [float(pictures), float(drift), float((found[:, 1] <= max_drift).mean())]
    return [file.name, lossless, *shares, float(chance), *gate]


def _decoded(file: WatchedFile, order: NDArray[np.intp], max_drift: float) -> float:
    """Share of the pictures decoded, groups being left to their key picture in an order."""
    lost, left = 0.0, pictures_for(file.groups, -1, {})
    for at in order:
        group = file.groups[at]
        lost += group.lost(inf, file.drifts[at])
        if lost > max_drift * file.rows:
            break
        left += 1 - group.pictures(-1)
    return left / file.pictures


def _drawn(file: WatchedFile, max_drift: float, draw: int) -> tuple[float, float]:
    """Share of the pictures decoded and mean drift, by one draw of the gate's audit."""
    groups, full = file.groups, pictures_for(file.groups, -1, {})
    known = {at: file.drifts[at] for at in draw_groups(groups, draw)}
    most = judge(groups, known, file.rows, max_drift, RISK).most
    audit = sum(groups[at].pictures(-1) for at in known)
    left = audit + pictures_for(groups, most, known)
    if most < 0 or left > (1 - WORTH) * full:
        return full / file.pictures, 0.0
    rest = [at for at in range(len(groups)) if at not in known]
    lost = sum(groups[at].lost(most, file.drifts[at]) for at in rest)
    return left / file.pictures, lost / file.rows
