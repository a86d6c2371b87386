"""Real rates: a trained model's strategies over made-up clips, by the way that ingests go."""

from collections.abc import Sequence
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch.nn import functional as F

from engine.errors import UsageError
from engine.evaluation.encodings import Pixels, render_pool
from engine.evaluation.report import Cell, Report
from engine.vision.model import load_model
from engine.vision.registry import build_strategy
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, reuse_rate

NAMES = ("dense", "reusevit", "earlygate")
COLUMNS = (
    "strategy", "frames/s", "× dense", "MACs ×", "reuse", "drift", "occupancy", "peak GB",
)  # fmt: skip


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    strategies: Sequence[str] = NAMES,
    clips: int = 128,
    seed: int = 7,
    lanes: int = 64,
    frames: int = 64,
    rounds: int = 3,
    workers: int = 2,
) -> Report:
    """Encode test clips of the made-up world by each strategy, as they ship, without a bound.

    Args:
        model: that has parts for the strategies asked for.
        device: where it runs; the clips lie there before the clock starts.
        strategies: besides dense, which is always encoded first.
        clips: of the test split, at two frames a second.
        seed: of the pool of clips.
        lanes: streams side by side.
        frames: of each lane in a turn.
        rounds: timed ones, in turns, after one that is not; the median counts.
        workers: processes that render.
    """
    if min(clips, rounds) < 1:
        raise UsageError(f"clips and rounds must be 1 or more, got {clips} and {rounds}")
    loaded = load_model(model, device=device)
    tower = loaded.tower
    rendered = render_pool("test", clips, seed, size=tower.config.image_size, workers=workers)
    streams = [_on(tower.device, frames) for _, frames in rendered]
    names = ("dense", *(name for name in strategies if name != "dense"))
    built = [build_strategy(name, tower, space=loaded.space) for name in names]
    works = [partial(_encode, strategy, streams, lanes, frames) for strategy in built]
    first = [work() for work in works]
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, taken, strict=True):
            seconds.append(work().seconds)
    total = sum(len(stream.pixels) for stream in streams)
    rates = [total / median(seconds) for seconds in taken]
    rows = [
        _row(name, rate, found, rates[0], first[0])
        for name, rate, found in zip(names, rates, first, strict=True)
    ]
    on_gpu = tower.device.type == "cuda"
    where = torch.cuda.get_device_name(tower.device) if on_gpu else "this CPU"
    notes = (
        f"{loaded.space.model} on {where}, {str(tower.dtype).removeprefix('torch.')}, torch "
        f"{torch.__version__}; {len(streams)} clips, {total:,} frames, {lanes} lanes of {frames}",
        f"encode only, frames on the device; medians of {rounds} rounds in turns; drift is the "
        "mean of 1 - cosine to this dense; no bound is kept, so nothing is audited",
    )
    return Report("A trained model's streams", COLUMNS, rows, notes)


class _Pass:
    """One pass over all clips: its results in the clips' order, and what it took."""

    def __init__(self, results: list[Encoded], seconds: float, batcher: Batcher) -> None:
        self.seconds = seconds
        self.occupancy = batcher.occupancy
        self.peak = _peak(batcher.strategy.tower.device)
        self.vectors = torch.cat([F.normalize(each.embeddings.float(), dim=-1) for each in results])
        self.macs = float(torch.cat([each.macs for each in results]).mean())
        rates = [reuse_rate(each, batcher.strategy.tower) for each in results]
        self.reuse = float(torch.cat(rates).mean())


def _encode(strategy: Strategy, streams: Sequence[Pixels], lanes: int, frames: int) -> _Pass:
    device = strategy.tower.device
    batcher = Batcher(strategy, lanes=lanes, frames=frames)
    sources = [
        StreamSource(number, [Chunk(stream.pixels)], len(stream.pixels))
        for number, stream in enumerate(streams)
    ]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    started = perf_counter()
    found = {key: each for ended in batcher.whole(sources) for key, each in ended}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = perf_counter() - started
    return _Pass([found[number] for number in range(len(streams))], seconds, batcher)


def _row(name: str, rate: float, found: _Pass, dense_rate: float, dense: _Pass) -> list[Cell]:
    drift = float((1 - (found.vectors * dense.vectors).sum(1).double()).mean())
    return [
        name, rate, rate / dense_rate, dense.macs / found.macs, found.reuse, drift,
        found.occupancy, found.peak,
    ]  # fmt: skip


def _peak(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def _on(device: torch.device, clip: Pixels) -> Pixels:
    return Pixels(clip.name, clip.pixels.to(device), clip.seconds, clip.duration_seconds)
