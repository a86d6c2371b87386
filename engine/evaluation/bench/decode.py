"""Decoding: the pipeline's frames per second against a plain PyAV loop, per core and over cores."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import av

from engine.evaluation.bench.clips import write_moving
from engine.evaluation.report import Report
from engine.ingesting.plan import Source, Stretch, Task, cut, tasks_for
from engine.ingesting.pool import DecodePool, Failed
from engine.ingesting.prepare import Preparation, prepare_task
from engine.video.container import file_stamp
from engine.video.gop import index_gops
from engine.vision.backbone.preprocess import Preprocessing, prepare

SQUARE = Preprocessing(224, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GOAL = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """Pictures per second of the clock, and of processor time."""

    by_clock: float
    by_work: float


def run(
    paths: Sequence[Path] = (), *, fps: float = 2.0, seconds: float = 64.0, rounds: int = 5
) -> Report:
    """Time both ways on the same files in turns; `seconds` is the length of a made-up clip.

    Both convert and resize the pictures sampled at `fps`. The loop decodes every picture; the
    pipeline finds the groups of pictures first, cuts them into stretches, decodes each by itself,
    and leaves out pictures that are not sampled where no other is built on them.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = [] if paths else [write_moving(Path(folder) / "made.mp4", seconds)]
        files = list(paths) or made
        cores = os.cpu_count() or 1
        plans = sorted({1, 2, cores} if cores > 1 else {1})
        found = {(w, way): list[Rate]() for w in plans for way in (_plain, _pipeline)}
        for _ in range(rounds):
            for (workers, way), rates in found.items():
                rates.append(_rate(partial(way, files * workers, fps, workers)))
    rows = []
    one = median(rate.by_clock for rate in found[1, _pipeline])
    for workers in plans:
        plain, pipeline = found[workers, _plain], found[workers, _pipeline]
        pairs = list(zip(pipeline, plain, strict=True))
        ours = median(rate.by_clock for rate in pipeline)
        rows.append(
            [
                workers,
                median(rate.by_clock for rate in plain),
                ours,
                median(a.by_clock / b.by_clock for a, b in pairs),
                median(a.by_work / b.by_work for a, b in pairs),
                ours / one / workers,
            ]
        )
    return Report(
        title="decode: pictures per second",
        columns=("threads", "plain loop", "pipeline", "ratio", "ratio by CPU", "efficiency"),
        rows=rows,
        notes=(
            f"{len(files)} files a thread, sampled at {fps:g} fps, {rounds} rounds in turns,"
            f" medians, {cores} cores; goal: ratio at least {GOAL}",
            "ratio: pipeline against a plain loop with as many threads, median over rounds; by CPU:"
            " per second of processor time, which other work on the machine leaves alone;"
            " efficiency: against one thread of the pipeline",
            "pictures per second are those of the files, whether decoded or left out",
        ),
        data={
            f"{way.__name__[1:]}_{w}": [asdict(rate) for rate in rates]
            for (w, way), rates in found.items()
        },
    )


def _rate(way: Callable[[], int]) -> Rate:
    started, worked = perf_counter(), process_time()
    pictures = way()
    return Rate(pictures / (perf_counter() - started), pictures / (process_time() - worked))


def _plain(files: Sequence[Path], fps: float, workers: int) -> int:
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(partial(_plain_loop, fps), files))


def _plain_loop(fps: float, path: Path) -> int:
    count, following = 0, None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        for frame in container.decode(stream):
            count += 1
            following = frame.time if following is None else following
            if frame.time is not None and following is not None and frame.time >= following:
                prepare(frame.to_ndarray(format="rgb24"), SQUARE)
                following += 1 / fps
    return count


def _tasks(files: Sequence[Path], fps: float) -> Iterator[Task]:
    """Index one file after the other while those before it are decoded, as an ingest does."""
    for number, path in enumerate(files):
        gops = tuple(index_gops(path))
        source = Source(path, file_stamp(path), number, path.name, gops, fps)
        yield from tasks_for(source, cut(source.gops, fps))


def _pipeline(files: Sequence[Path], fps: float, workers: int) -> int:
    work = partial(prepare_task, Preparation(SQUARE))
    with DecodePool(_tasks(files, fps), work, workers=workers, ahead=workers) as pool:
        return sum(
            0 if isinstance(item, Failed) else _pictures(item.task, item.stretch) for item in pool
        )


def _pictures(task: Task, stretch: Stretch) -> int:
    """Pictures of a stretch, decoded or left out."""
    gops = task.source.between(stretch.start_seconds, stretch.stop_seconds)
    return sum(gop.num_packets for gop in gops)
