"""Ingest: frames per second beside what decoding and encoding can do alone, and peak memory."""

import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from engine.evaluation.bench.clips import write_moving
from engine.evaluation.report import Report
from engine.ingest import IngestOptions, ingest
from engine.ingesting.encode import StretchEncoder
from engine.ingesting.plan import Source, cut, tasks_for
from engine.ingesting.pool import DecodePool
from engine.ingesting.prepare import Preparation, PreparedStretch, prepare_task
from engine.storage.store import Store
from engine.video.container import file_stamp
from engine.video.gop import index_gops
from engine.vision.backbone.tower import VisionTower
from engine.vision.model import Model, load_model

GOAL = 0.9
MIB = 2**20
SHORT_SECONDS = 640.0  # more stretches than the pipeline holds
LONGER = 4  # the second file of the memory measurement, in lengths of the first


@dataclass(frozen=True, slots=True)
class TimedRound:
    """Sampled frames per second."""

    decode: float  # decoding, sampling and resizing alone
    encode: float  # the strategy alone
    ingest: float  # everything, files to committed rows

    @property
    def of_ceiling(self) -> float:
        """Ingest against the smaller of the two."""
        return self.ingest / min(self.decode, self.encode)

    @property
    def of_shared(self) -> float:
        """Ingest against both taking turns on the same cores, as they do without a GPU."""
        return self.ingest * (1 / self.decode + 1 / self.encode)


def run(
    paths: Sequence[Path] = (),
    *,
    model: str = "builtin",
    device: str = "auto",
    strategy: str = "dense",
    seconds: float = 128.0,
    rounds: int = 3,
) -> Report:
    """Time decode alone, encode alone and ingest in turns; `seconds` is a made-up clip's length."""
    loaded = load_model(model, device=device)
    options = IngestOptions(strategy=strategy)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = list(paths) or [write_moving(root / "made.mp4", seconds)]
        found = [_round(loaded, options, files, root / str(n)) for n in range(rounds)]
        peaks = _peaks(loaded, options, root)
    names = ("decode", "encode", "ingest", "of_ceiling", "of_shared")
    return Report(
        title=f"ingest: sampled frames per second, {strategy} on {loaded.device}",
        columns=(*names, "MiB for 11 min", f"MiB for {LONGER} × as long"),
        rows=[[*(median(getattr(each, name) for each in found) for name in names), *peaks]],
        notes=(
            f"{len(files)} files, {rounds} rounds in turns, medians, {os.cpu_count()} cores;"
            f" goal: of_ceiling at least {GOAL}",
            "of_ceiling: ingest against the smaller of decode and encode, each alone on all cores;"
            " of_shared: against both in turn on the same cores, the ceiling without a GPU",
        ),
        data={"rounds": [asdict(each) for each in found]},
    )


def _round(model: Model, options: IngestOptions, files: Sequence[Path], root: Path) -> TimedRound:
    started = perf_counter()
    prepared = list(_prepared(model, options, files))
    frames = sum(len(item.frames) for item in prepared)
    decode = frames / (perf_counter() - started)
    encoder = StretchEncoder(model, options)
    started = perf_counter()
    for _ in encoder.run(prepared):
        pass
    encode = frames / (perf_counter() - started)
    with Store.open(root) as store:
        started = perf_counter()
        report = ingest(store, model, files, options)
        return TimedRound(decode, encode, report.frames / (perf_counter() - started))


def _prepared(
    model: Model, options: IngestOptions, files: Sequence[Path]
) -> Iterator[PreparedStretch]:
    tasks = []
    for number, path in enumerate(files):
        source = Source(
            path, file_stamp(path), number, path.name, tuple(index_gops(path)), options.fps
        )
        tasks += tasks_for(source, cut(source.gops, options.fps))
    work = partial(prepare_task, Preparation(model.preprocessing))
    workers = os.cpu_count() or 1
    with DecodePool(iter(tasks), work, workers=workers, ahead=workers) as pool:
        yield from (item for item in pool if isinstance(item, PreparedStretch))


def _peaks(model: Model, options: IngestOptions, root: Path) -> list[float]:
    """MiB that ingesting a clip, and one several times as long, adds to the process.

    With one layer of the tower: it is the pipeline that must not grow. A shorter clip comes first,
    so that what is set up once is not counted.
    """
    config = replace(model.tower.config, layers=1)
    model = replace(model, tower=VisionTower(config).to(model.device).eval().requires_grad_(False))
    lengths = {"first": 64.0, "short": SHORT_SECONDS, "long": LONGER * SHORT_SECONDS}
    peaks = []
    for name, seconds in lengths.items():
        path = write_moving(root / f"{name}.mp4", seconds, size=(180, 320), fps=10)
        gc.collect()
        with Store.open(root / f"{name}-data") as store, _peak() as peak:
            ingest(store, model, [path], options)
        peaks.append(peak() / MIB)
    return peaks[1:]


@contextmanager
def _peak() -> Iterator[Callable[[], float]]:
    """Watch the process's resident memory; the function tells by how much it rose at most."""
    before, highest, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            highest[0] = max(highest[0], _resident() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: float(highest[0])
    finally:
        done.set()
        thread.join()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
