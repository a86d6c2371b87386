"""Encoding on a GPU: frames per second of every strategy, against dense as fast as it goes."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import UsageError, unknown
from engine.evaluation.bench.eager import Eager
from engine.evaluation.report import Report
from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.precision import capable, quantise
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.forward import SOURCES, step_macs
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.fused.dense import FusedDense
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import serve
from engine.vision.streaming.stepper import Batch

TOWERS = {
    "L/14": VisionConfig(24, 1024, 16, 4096, 14, 224, 768),
    "B/16": VisionConfig(12, 768, 12, 3072, 16, 224, 512),
    "Ti/16": VisionConfig(12, 192, 3, 768, 16, 224, 256),  # the built-in model's
}
RATES = (0.5, 0.7, 0.85, 0.9, 0.95)
GROUP = 4
KERNELS = 12  # that are listed, the longest first
EIGHT = "-fp8"  # behind the name of what runs in eight bits


@dataclass(frozen=True, slots=True)
class TimedEntry:
    """One way to encode, ready to be timed: a step that encodes `frames` frames, and its counts."""

    name: str
    step: Callable[[], object]
    frames: int
    macs: float  # multiply-accumulates of one frame
    rate: float | None = None  # tokens reused, of those that may be
    state_bytes: int | None = None  # kept of one stream between steps
    kernels: bool = False  # whether its kernels are listed

    @property
    def label(self) -> str:
        """Name and rate."""
        return self.name if self.rate is None else f"{self.name} at {self.rate}"


@dataclass(frozen=True, slots=True)
class TimedSetting:
    """What all entries share."""

    tower: VisionTower
    streams: int
    rates: tuple[float, ...]


def run(
    models: tuple[str, ...] = ("L/14", "B/16"),
    *,
    device: str = "cuda",
    streams: int = 64,
    rates: tuple[float, ...] = RATES,
    only: tuple[str, ...] = (),
    repeats: int = 20,
    output: Path | None = None,
) -> Report:
    """Time whole forwards, bytes on the GPU to projected vectors, with random weights.

    Args:
        models: of `TOWERS`.
        device: a CUDA device.
        streams: streams side by side; groups of four frames of each make a step.
        rates: reuse rates forced on the patches, the same at every gate.
        only: of `ENTRIES`; dense is always timed. Without it all that the GPU can.
        repeats: timed steps, of which the median counts.
        output: where the figures are written as JSON.
    """
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        raise UsageError(f"bench encode times a GPU, got {device}; allowed: cuda")
    rows: list[list[Any]] = []
    listed: dict[str, dict[str, float]] = {}
    for model in models:
        if model not in TOWERS:
            raise UsageError(unknown("model", model, TOWERS))
        setting = TimedSetting(random_tower(TOWERS[model], torch.device(device)), streams, rates)
        speed: dict[str, float] = {}  # frames per second
        for entry in _chosen(only, setting):
            row, micros = _time(entry, model, repeats)
            speed.setdefault(entry.name, row[3])
            gains = [row[3] / speed[name] if name in speed else None for name in BASELINES]
            rows.append([*row[:4], *gains, *row[4:]])
            if micros:
                listed[entry.label.replace(entry.name, f"{entry.name} {model}")] = micros
            torch.cuda.empty_cache()
    report = Report(
        title="Encoding on a GPU, from bytes to projected vectors",
        columns=(
            "model", "strategy", "reuse", "frames/s", *(f"x {name}" for name in BASELINES),
            "TFLOP/s", "GB/s", "ms/step", "frames/step", "state MB", "peak GB",
        ),
        rows=rows,
        notes=(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, medians of {repeats} "
            "steps; random weights and frames, reuse forced at every gate",
            "TFLOP/s counts two for each multiply-accumulate done; GB/s the weights, and each "
            "layer's token rows read and written once",
            "x dense is against this table's first row of the model, x dense-fp8 against the same "
            "in eight bits; eager-fp32, with attention written out by hand, is what the published "
            "2.64x was measured against",
        ),
        data={"kernels_us": listed},
        more=kernel_tables(listed),
    )  # fmt: skip
    if output is not None:
        report.write_json(output)
    return report


def kernel_tables(listed: dict[str, dict[str, float]]) -> tuple[Report, ...]:
    """Microseconds of one step by kernel: a table for each model and strategy, a column a rate."""
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for label, micros in listed.items():
        title, _, rate = label.partition(" at ")
        groups.setdefault(title, {})[rate or "µs"] = micros
    tables = []
    for title, columns in groups.items():
        names = {name: 0.0 for micros in columns.values() for name in micros}
        for micros in columns.values():
            names.update({name: max(names[name], time) for name, time in micros.items()})
        longest = sorted(names, key=lambda name: -names[name])[:KERNELS]
        rows: list[list[Any]] = [
            [name[:30], *(micros.get(name) for micros in columns.values())] for name in longest
        ]
        sums = ["all", *(sum(micros.values()) for micros in columns.values())]
        tables.append(Report(f"{title}, µs of a step", ("kernel", *columns), [*rows, sums]))
    return tuple(tables)


def random_tower(config: VisionConfig, device: torch.device) -> VisionTower:
    """Build a tower in bfloat16 whose random weights keep activations in the usual range."""
    torch.manual_seed(0)
    tower = VisionTower(config).to(device)
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    nn.init.normal_(tower.position, std=0.1)
    nn.init.normal_(tower.class_token, std=0.1)
    return tower.to(torch.bfloat16).eval().requires_grad_(False)


def random_pixels(tower: VisionTower, frames: int) -> Tensor:
    """Noise `[F, 3, S, S]`, for no kernel's time depends on what it shows."""
    size = tower.config.image_size
    shape = (frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=tower.device)


def dense_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Dense by our kernels: the baseline of all others."""
    tower, frames = setting.tower, setting.streams * GROUP
    dense = FusedDense(tower, frames)
    dense.pixels.copy_(random_pixels(tower, frames))
    macs = float(dense_macs(tower.config))
    yield TimedEntry("dense", lambda: dense.run(frames), frames, macs, kernels=True)


def compiled_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Dense as torch.compile makes it of the plain tower, in the same precision."""
    tower, frames = setting.tower, setting.streams * GROUP
    pixels = random_pixels(tower, frames)
    forward = torch.compile(lambda values: tower(tower.normalise(values)))
    with torch.inference_mode():
        forward(pixels)
    yield TimedEntry(
        "compiled", _inference(forward, pixels), frames, float(dense_macs(tower.config))
    )


def eager_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Float32, eager, attention by hand: the kind of baseline that published gains stand on."""
    tower, frames = setting.tower, setting.streams
    eager = Eager(tower)
    pixels = random_pixels(tower, frames)
    macs = float(dense_macs(tower.config))
    yield TimedEntry("eager-fp32", _inference(eager.encode, pixels), frames, macs)


def reusevit_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """ReuseViT at each rate, groups of four frames of every stream."""
    tower, streams = setting.tower, setting.streams
    modules = ReuseModules(tower.config, ReuseConfig(cue="none")).to(tower.device)
    fused = FusedReuse(tower, serve(modules, tower), streams=streams, forced=True)
    memory = fused.memory
    assert memory.forced is not None
    memory.pixels.copy_(random_pixels(tower, GROUP * streams))
    memory.full.fill_(True)
    memory.sizes.fill_(1)
    fused.run(1, streams)
    memory.full.zero_()
    memory.sizes.fill_(GROUP)
    for rate in setting.rates:
        memory.forced.copy_(torch.rand(memory.forced.shape, device=tower.device) < rate)
        yield TimedEntry(
            "reusevit", lambda: fused.run(GROUP, streams), GROUP * streams,
            reuse_macs(tower.config, rate), rate, memory.state_bytes, kernels=True,
        )  # fmt: skip


def reuse_macs(config: VisionConfig, rate: float, narrow: int = 64, hidden: int = 160) -> float:
    """Multiply-accumulates of one frame when `rate` of the patches is reused at every gate."""
    patches, gates = config.tokens - 1, config.layers - 1
    kept, taken = 1 + patches * (1 - rate), patches * rate
    row = finish_macs(config, 1) + project_macs(config, 1)
    each = attend_macs(config, config.tokens) + kept * row
    each += taken * 8 * narrow * config.width + 14 * config.tokens * config.width / GROUP
    each += patches * 8 * hidden
    first = embed_macs(config) + project_macs(config, config.tokens)
    last = attend_macs(config, 1) + finish_macs(config, 1) + head_macs(config)
    return first + gates * each + last


def earlygate_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """The early gate at each rate, groups of four frames of every stream, one random mask each."""
    tower, streams, config = setting.tower, setting.streams, setting.tower.config
    limits = FixedLimits.uniform(config, 0.0)
    fused = FusedGate(tower, limits, streams, forced=True)
    fused.begin(streams)
    pixels = random_pixels(tower, GROUP * streams)
    slots, places = np.divmod(np.arange(GROUP * streams), streams)
    gated = np.zeros(GROUP * streams, bool)
    fused.step(Batch(slots[:streams], places[:streams], ~gated[:streams], pixels[:streams]))
    candidates = torch.tensor([len(allowed) for allowed in SOURCES], device=tower.device)
    candidates = candidates.repeat_interleave(streams)
    for rate in setting.rates:
        reused = torch.rand(fused.memory.thresholds.shape[1:], device=tower.device) < rate
        fused.force(torch.where(reused, torch.inf, -1.0).expand_as(fused.memory.thresholds))
        stepped = fused.step(Batch(slots, places, gated, pixels))
        macs = float(step_macs(config, limits, stepped.computed, candidates).mean())
        yield TimedEntry(
            "earlygate", fused.run, len(slots), macs, rate, fused.memory.state_bytes(),
            kernels=True,
        )  # fmt: skip


Entries = Callable[[TimedSetting], Iterator[TimedEntry]]


def in_eight(entries: Entries) -> Entries:
    """The same with the tower's large products in e4m3."""

    def made(setting: TimedSetting) -> Iterator[TimedEntry]:
        tower = quantise(deepcopy(setting.tower))
        for entry in entries(replace(setting, tower=tower)):
            yield replace(entry, name=f"{entry.name}{EIGHT}")

    return made


# a strategy is added by one entry: a function that yields what is timed
ENTRIES: dict[str, Entries] = {
    "dense": dense_entries,
    "dense-fp8": in_eight(dense_entries),
    "reusevit": reusevit_entries,
    "reusevit-fp8": in_eight(reusevit_entries),
    "earlygate": earlygate_entries,
    "earlygate-fp8": in_eight(earlygate_entries),
    "compiled": compiled_entries,
    "eager-fp32": eager_entries,
}
BASELINES = ("dense", "dense-fp8")


def _chosen(only: tuple[str, ...], setting: TimedSetting) -> Iterator[TimedEntry]:
    """Dense, and what else was asked for or can run."""
    for name in only:
        if name not in ENTRIES:
            raise UsageError(unknown("strategy", name, ENTRIES))
    able = capable(setting.tower.device)
    for name, entries in ENTRIES.items():
        if name == "dense" or (name in only if only else able or not name.endswith(EIGHT)):
            yield from entries(setting)


def _inference(forward: Callable[[Tensor], Tensor], pixels: Tensor) -> Callable[[], object]:
    def step() -> object:
        with torch.inference_mode():
            return forward(pixels)

    return step


def _time(entry: TimedEntry, model: str, repeats: int) -> tuple[list[Any], dict[str, float]]:
    """Median of single steps by CUDA events, then the kernels of one step where asked for."""
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        entry.step()
    events = [(_event(), _event()) for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        entry.step()
        end.record()
    torch.cuda.synchronize()
    times = sorted(begin.elapsed_time(end) for begin, end in events)
    milliseconds = times[len(times) // 2]
    per_second = entry.frames / milliseconds * 1e3
    state = None if entry.state_bytes is None else entry.state_bytes / 1e6
    row = [
        model, entry.name, entry.rate, per_second, 2 * entry.macs * per_second / 1e12,
        _bytes(model, entry) * per_second / 1e9, milliseconds, entry.frames, state,
        torch.cuda.max_memory_allocated() / 1e9,
    ]  # fmt: skip
    return row, _kernels(entry.step) if entry.kernels else {}


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def _bytes(model: str, entry: TimedEntry) -> float:
    """Fewest bytes that a frame moves: weights once a step, the layers' rows once each way."""
    config = TOWERS[model]
    size = 1 if entry.name.endswith(EIGHT) else 2  # of what large products read, but P
    kept = config.tokens * (1 - (entry.rate or 0.0))
    weights = size * (3 * config.width**2 + 2 * config.width * config.mlp) + 2 * config.width**2
    computed = kept * (2 * 9 * config.width + size * 2 * config.mlp)
    attention = 2 * config.tokens * 4 * config.width
    taken = 2 * config.tokens * (entry.rate or 0.0) * 10 * config.width
    return config.layers * (weights / entry.frames + computed + attention + taken)


def _kernels(step: Callable[[], object]) -> dict[str, float]:
    """Microseconds of one step by kernel, the longest first."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        step()
        torch.cuda.synchronize()
    totals = {event.key: event.device_time_total for event in profile.key_averages()}
    longest = sorted(totals.items(), key=lambda item: -item[1])[:16]
    return {name[:60]: round(total, 1) for name, total in longest if total > 0}
