"""Encoding on a GPU: frames per second of every strategy, against dense as fast as it goes."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError, unknown
from engine.evaluation.bench.forced import (
    compiled_entries,
    dense_entries,
    eager_entries,
    earlygate_entries,
    reusevit_entries,
)
from engine.evaluation.bench.live import (
    cmc_entries,
    codec_entries,
    diffrate_entries,
    earlygate_live_entries,
    emulated_entries,
    eventful_entries,
    reusevit_live_entries,
    tome_entries,
)
from engine.evaluation.bench.timed import TOWERS, TimedEntry, TimedSetting, random_tower
from engine.evaluation.report import Report
from engine.vision.backbone.precision import capable, quantise

RATES = (0.5, 0.7, 0.85, 0.9, 0.95)
KERNELS = 12  # that are listed, the longest first
EIGHT = "-fp8"  # behind the name of what runs in eight bits


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
        rates: reuse rates, forced on the patches or met by what changes in the pictures.
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
            speed.setdefault(entry.name, row[4])
            gains = [row[4] / speed[name] if name in speed else None for name in BASELINES]
            rows.append([*row[:5], *gains, *row[5:]])
            if micros:
                listed[entry.label.replace(entry.name, f"{entry.name} {model}")] = micros
            torch.cuda.empty_cache()
    report = Report(
        title="Encoding on a GPU, from bytes to projected vectors",
        columns=(
            "model", "strategy", "holds", "reuse", "frames/s", *(f"x {name}" for name in BASELINES),
            "TFLOP/s", "GB/s", "ms/step", "frames/step", "state MB", "peak GB",
        ),
        rows=rows,
        notes=(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, medians of {repeats} "
            "steps; random weights and frames",
            "forced: masks drawn beforehand stand for what a gate decides, the same reuse at every "
            "gate; live: it decides by itself, over pictures of which new patches make that reuse",
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
    "reusevit-live": reusevit_live_entries,
    "codec-net": codec_entries,
    "earlygate-live": earlygate_live_entries,
    "diffrate": diffrate_entries,
    "tome": tome_entries,
    "eventful": eventful_entries,
    "eventful-emulated": emulated_entries,
    "cmc-emulated": cmc_entries,
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
        model, entry.name, entry.holds, entry.rate, per_second, 2 * entry.macs * per_second / 1e12,
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
    kept = config.tokens * entry.rows
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
