"""Encoding on several GPUs of one host: frames per second, efficiency, equality of the results."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import UsageError, unknown
from engine.evaluation.bench.timed import TOWERS, random_tower
from engine.evaluation.report import Report
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.fused.dense import FusedDense
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import ServedGate
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.parallel import RemoteStream, Room, encode_parallel
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import GROUP
from engine.vision.streaming.strategy import Chunk, Strategy

STRATEGIES = ("dense", "reusevit", "earlygate")
NEAR = 0.5  # a patch whose pre-projection is that similar to its root's is reused
LENGTHS = (33, 65, 49, 129, 17)  # frames of a stretch, in turn
BLOCK = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to do."""

    model: str  # of `TOWERS`
    stretches: int  # for each device
    lanes: int  # streams side by side on each device


SIZES = {"cuda": Size("L/14", 640, 64), "cpu": Size("Ti/16", 1, 1)}  # a CPU is to try it out


@dataclass(frozen=True, slots=True)
class StrategyMaker:
    """Make a strategy with random weights, the same in every process, and make it warm."""

    strategy: str
    config: VisionConfig
    room: Room
    barrier: Barrier  # where the processes meet when each of them is warm

    def __call__(self, device: torch.device) -> Strategy:
        """Make it, and encode what makes it compile and record all that the timed part needs."""
        if device.type == "cpu":  # the processes share its cores
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // max(1, self.barrier.parties - 1)))
        strategy = self._make(random_tower(self.config, device))
        batcher = Batcher(strategy, lanes=self.room.lanes, frames=self.room.frames, lookahead=1)
        width = self.room.lanes
        while width:  # groups of one and of four, which are those of `LENGTHS`, on every width
            for frames in (2, 5):
                self._encode(batcher, [frames] * width)
            width //= 4
        self._encode(batcher, of_lengths(2 * self.room.lanes))  # handed on from turn to turn
        if device.type == "cuda":
            torch.cuda.synchronize()
        self.barrier.wait()
        return strategy

    def _encode(self, batcher: Batcher, lengths: list[int]) -> None:
        """Encode streams of so many frames, none of them of the timed part."""
        device, size = batcher.strategy.tower.device, self.config.image_size
        for _ in batcher.whole(
            StreamSource(at, Noise(~at, frames, size)(device), frames)
            for at, frames in enumerate(lengths)
        ):
            pass

    def _make(self, tower: VisionTower) -> Strategy:
        streams = self.room.lanes
        if self.strategy == "dense":
            return Dense(tower, fused=FusedDense(tower, GROUP * streams))
        if self.strategy == "reusevit":
            modules = ReuseModules(tower.config, ReuseConfig(cue="none"))
            reuse = ReuseViT(tower, modules, refresh=Refresh(cut=1.0))
            reuse.stepper = FusedReuse(tower, similar_gates(tower), streams=streams)
            return reuse
        limits = FixedLimits.uniform(tower.config, 0.2)
        return EarlyGate(tower, limits, Refresh(cut=1.0), fused=FusedGate(tower, limits, streams))


def of_lengths(count: int) -> list[int]:
    """Frames of so many stretches."""
    return [LENGTHS[at % len(LENGTHS)] for at in range(count)]


def similar_gates(tower: VisionTower, narrow: int = 64) -> list[ServedGate]:
    """Make gates that reuse what is similar enough, with random corrections that are small."""
    like, width = tower.position, tower.config.width
    first = torch.zeros(1, 6, device=tower.device)
    first[0, 1] = 1.0  # of importance, similarity, cue and kind
    decision = [
        (first, torch.zeros(1, device=tower.device)),
        (torch.tensor([[1.0], [0.0]], device=tower.device),
         torch.tensor([-NEAR, 0.0], device=tower.device)),
    ]  # fmt: skip
    down = torch.randn(4 * narrow, width, device=tower.device).to(like) * width**-0.5
    up = torch.randn(4, narrow, width, device=tower.device).to(like) * 0.1 * narrow**-0.5
    return [ServedGate(decision, down, up) for _ in range(tower.config.layers - 1)]


@dataclass(frozen=True, slots=True)
class Noise:
    """A still picture from a seed, of which a tenth changes with every frame; made on the GPU."""

    seed: int
    frames: int
    size: int

    def __call__(self, device: torch.device) -> Iterator[Chunk]:
        source = torch.Generator(device).manual_seed(self.seed)
        shape = (3, self.size, self.size)
        still = torch.randint(256, shape, dtype=torch.uint8, device=device, generator=source)
        for start in range(0, self.frames, BLOCK):
            many = min(BLOCK, self.frames - start)
            block = still.repeat(many, 1, 1, 1)
            high = self.size // 10
            at = self.seed * 31 % (self.size - high)
            block[:, :, at : at + high] = torch.randint(
                256, (many, 3, high, self.size), dtype=torch.uint8, device=device, generator=source
            )
            yield Chunk(block)


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """One number of devices: its speed, and its results by stretch."""

    frames_per_second: float
    spread: float  # frames of the busiest worker over those of the idlest
    reuse: float  # share of tokens
    embeddings: dict[int, NDArray[np.float32]]


def run(
    counts: tuple[int, ...] = (1, 2),
    *,
    model: str | None = None,
    strategies: tuple[str, ...] = STRATEGIES,
    stretches: int | None = None,
    lanes: int | None = None,
    device: str = "cuda",
    output: Path | None = None,
) -> Report:
    """Encode the same kind of work on 1, 2, … devices, `stretches` for each device.

    The clock starts when every process is warm, so starting up, compiling and recording graphs are
    not counted; it stops with the last result, so idling at the end is.

    Args:
        counts: numbers of devices; the smallest is what efficiency is against.
        model: of `TOWERS`; as for `stretches` and `lanes`, without it as `SIZES` has it.
        strategies: of `STRATEGIES`.
        stretches: per device, of `LENGTHS` frames in turn.
        lanes: streams side by side on each device.
        device: `cuda`, or `cpu` to try it out: a process for each of so many devices.
        output: where the figures are written as JSON.
    """
    if device not in SIZES:
        raise UsageError(unknown("device", device, SIZES))
    usual, counts = SIZES[device], tuple(sorted(set(counts)))
    model, lanes = model or usual.model, lanes or usual.lanes
    stretches = stretches or usual.stretches
    if model not in TOWERS:
        raise UsageError(unknown("tower", model, TOWERS))
    if device == "cuda" and torch.cuda.device_count() < max(counts):
        raise UsageError(f"expected {max(counts)} GPUs, found {torch.cuda.device_count()}")
    rows: list[list[Any]] = []
    for strategy in strategies:
        if strategy not in STRATEGIES:
            raise UsageError(unknown("strategy", strategy, STRATEGIES))
        first: WorkerRun | None = None
        for count in counts:
            devices = [f"{device}:{at}" if device == "cuda" else device for at in range(count)]
            measured = _measure(strategy, model, devices, stretches * count, lanes)
            first = first or measured
            gain = measured.frames_per_second / first.frames_per_second
            rows.append(
                [
                    strategy, count, measured.frames_per_second, gain,
                    gain * counts[0] / count, measured.reuse, measured.spread,
                    _same(first, measured),
                ]
            )  # fmt: skip
    name = torch.cuda.get_device_name() if device == "cuda" else device
    report = Report(
        title=f"Encoding {model} on several GPUs",
        columns=(
            "strategy", "GPUs", "frames/s", "x first", "efficiency", "reuse", "spread", "differs",
        ),
        rows=rows,
        notes=(
            f"{name}, torch {torch.__version__}; frames made on the device, encode only; for each "
            f"{stretches} stretches of {min(LENGTHS)} to {max(LENGTHS)} frames, {lanes} lanes",
            "spread: frames of the busiest device over the idlest's; differs: at most, any value "
            "of an embedding, from the first row's",
        ),
    )  # fmt: skip
    if output is not None:
        report.write_json(output)
    return report


def _measure(
    strategy: str, model: str, devices: list[str], stretches: int, lanes: int
) -> WorkerRun:
    barrier = get_context("spawn").Barrier(len(devices) + 1)
    config, room = TOWERS[model], Room(lanes)
    build = StrategyMaker(strategy, config, room, barrier)
    began: list[float] = []
    watch = Thread(target=lambda: began.append(_meet(barrier)), daemon=True)
    watch.start()
    lengths = of_lengths(stretches)
    work: Iterable[RemoteStream[int]] = (
        RemoteStream(at, Noise(at, length, config.image_size), length)
        for at, length in enumerate(lengths)
    )
    frames = dict.fromkeys(range(len(devices)), 0)
    embeddings: dict[int, NDArray[np.float32]] = {}
    computed: list[float] = []
    for finished in encode_parallel(build, work, devices, room):
        last = perf_counter()
        frames[finished.worker] += len(finished.full)
        embeddings[finished.key] = finished.embeddings
        computed.append(float(finished.computed[:, 1:].mean()))
    spread = max(frames.values()) / max(1, min(frames.values()))
    reuse = 1 - float(np.mean(computed)) / config.tokens
    return WorkerRun(sum(lengths) / (last - began[0]), spread, reuse, embeddings)


def _meet(barrier: Barrier) -> float:
    """Wait for all processes; return when they begin."""
    barrier.wait()
    return perf_counter()


def _same(first: WorkerRun, other: WorkerRun) -> float:
    """Largest difference over the stretches that both encoded."""
    return max(
        float(np.abs(value - other.embeddings[key]).max())
        for key, value in first.embeddings.items()
    )
