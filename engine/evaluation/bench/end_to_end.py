"""A whole ingest, files to rows, beside what a competent user would write: every way in one run."""

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from engine.errors import UsageError, unknown
from engine.evaluation.bench.cameras import CODINGS, write_camera
from engine.evaluation.bench.plain_ingest import Forward, plain_ingest
from engine.evaluation.bench.timed import TOWERS, random_tower
from engine.evaluation.report import Cell, Report
from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.space import Asked, Space
from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.model import Model, load_model, pick_device

SHAPES = TOWERS | {"B/32": VisionConfig(12, 768, 12, 3072, 32, 224, 512)}
PLAIN, DENSE, GATES, SPARSE = "plain loop", "dense", "gates", "interpolated"
PLAIN_BF16 = "plain loop, bf16"  # beside the other where ours run in bf16 on a CPU
DECODE_DENSE, DECODE_GATES = "decode gate, dense", "decode gate, gates"
WAYS = (PLAIN, DENSE, GATES, DECODE_DENSE, DECODE_GATES, SPARSE)
BRIEF, APART = 2.0, 0.05  # times as far from both neighbours as they are, and so far at least
COLUMNS = (
    *("way", "pictures", "decode s", "encode s", "wall s", "CPU s", "×", "CPU ×"),
    *("drift", "p99", "brief", "rows", "KiB"),
)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one way made of the files, and what it took."""

    pictures: int
    decode_seconds: float  # of all threads
    encode_seconds: float
    wall_seconds: float
    cpu_seconds: float
    rows: int
    size_bytes: int
    said: str = ""


Found = tuple[Ingested, dict[tuple[int, int], NDArray[np.float32]]]  # vectors by file and frame


def run(
    paths: Sequence[str | Path] = (),
    *,
    seed: int = 0,
    model: str = "builtin",
    device: str = "auto",
    fps: float = 2.0,
    max_drift: float = 0.02,
    gates: str = "earlygate",
    rounds: int = 3,
    ways: Sequence[str] = WAYS,
    batch: int = 32,
    decoder: str = "auto",
    precision: Asked = "auto",
) -> Report:
    """Ingest files by every way in turns; times are medians of the rounds.

    Args:
        paths: video files; none: a made-up camera by `seed`, coded four ways.
        seed: of the made-up camera.
        model: as an ingest takes it; a shape such as L/14, with random weights; or the `.npz` of a
            plain ViT.
        device: where it runs.
        fps: sampled frames per second.
        max_drift: bound on the mean drift of each video.
        gates: the strategy that reuses in the tower.
        rounds: of all ways, each beginning with another.
        ways: of `WAYS`; dense is what drift is measured against.
        batch: frames that the plain loop encodes at once.
        decoder: of the engine's ways.
        precision: bf16 on a CPU: of the engine's ways, and of a plain loop beside the usual one.
    """
    if unknown_ways := [way for way in ways if way not in WAYS]:
        raise UsageError(unknown("way", unknown_ways[0], WAYS))
    loaded = load_any(model, device)
    forward, how = _fastest(loaded.tower, batch)
    forwards = {PLAIN: forward}
    if precision == "bf16" and loaded.tower.dtype != torch.bfloat16:
        loaded = replace(loaded, tower=copy.deepcopy(loaded.tower).bfloat16())
        forwards[PLAIN_BF16], other = _fastest(loaded.tower, batch)
        how = f"{how}, and in bf16 {other}"
        ways = [each for way in ways for each in ((way, PLAIN_BF16) if way == PLAIN else (way,))]
    given = IngestOptions(fps=fps, max_drift=max_drift, decoder=decoder)  # type: ignore[arg-type]
    options = {
        DENSE: replace(given, strategy="dense"),
        GATES: replace(given, strategy=gates),
        DECODE_DENSE: replace(given, strategy="dense", decode_gate=True),
        DECODE_GATES: replace(given, strategy=gates, decode_gate=True),
    }
    found: dict[str, list[Ingested]] = {way: [] for way in ways}
    vectors: dict[str, dict[tuple[int, int], NDArray[np.float32]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(path) for path in paths] or [
            write_camera(Path(folder) / f"{seed}-{name}.mp4", seed, coding)
            for name, coding in CODINGS.items()
        ]
        for turn in range(rounds):
            for way in (*ways[turn % len(ways) :], *ways[: turn % len(ways)]):
                if way == SPARSE:
                    continue
                root = Path(folder) / f"{way} {turn}"
                if way in forwards:
                    one = _plain(loaded, forwards[way], files, root, fps, batch)
                else:
                    one = _ingest(loaded, files, root, options[way])
                found[way].append(one[0])
                vectors[way] = one[1]
        if SPARSE in ways and {DENSE, DECODE_GATES} <= set(ways):
            goal = median(each.encode_seconds for each in found[DECODE_GATES])
            dense = median(each.encode_seconds for each in found[DENSE])
            rate = fps * min(1.0, goal / dense)
            for turn in range(rounds):
                slower = replace(options[DENSE], fps=rate)
                one = _ingest(loaded, files, Path(folder) / f"{SPARSE} {turn}", slower)
                found[SPARSE].append(one[0])
                vectors[SPARSE] = one[1]
            vectors[SPARSE] = _interpolated(vectors[SPARSE], vectors[DENSE], rate / fps)
    rows = [_row(way, found, vectors) for way in ways if found[way]]
    said = [f"{way}: {each[-1].said}" for way, each in found.items() if each and each[-1].said]
    return Report(
        title=f"ingest end to end: {model} on {loaded.device} in"
        f" {str(loaded.tower.dtype).removeprefix('torch.')}, {gates} under {max_drift:g}",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"{len(files)} files at {fps:g} frames/s, {rounds} rounds in turns, medians,"
            f" {os.cpu_count()} cores, {torch.get_num_threads()} threads; plain loop: PyAV in a"
            f" thread, batches of {batch}, {how}, one Parquet file",
            "× and CPU ×: the plain loop's wall-clock and processor time over this way's; decode s:"
            " of all threads; drift: against our dense, every frame looked at; interpolated:"
            " dense at a lower rate that costs what the last way encodes in, rows between them",
            "brief: of the frames unlike both neighbours, those whose vector is nearest their own",
            *said,
        ),
        data={way: [asdict(one) for one in each] for way, each in found.items()},
    )


def load_any(name: str, device: str) -> Model:
    """Load a model, a shape with random weights or a plain ViT."""
    if name in SHAPES:
        tower = random_tower(SHAPES[name], pick_device(device))
        if not tower.device.type.startswith("cuda"):
            tower = tower.float()
    elif name.endswith(".npz"):
        tower = load_plain(Path(name)).to(pick_device(device))
    else:
        return load_model(name, device=device)
    config = tower.config
    preprocessing = Preprocessing(config.image_size, config.image_size, config.mean, config.std)
    text = TextTower(TextConfig(1, 16, 2, 32, vocabulary=64, context=8, dimension=config.dimension))
    called = Path(name).stem.replace("/", "-")
    space = Space(called, name, "local", "0" * 64, preprocessing.canonical, config.dimension)
    return Model(tower, text, None, preprocessing, space, 1.0)


def _fastest(tower: VisionTower, batch: int) -> tuple[Forward, str]:
    """Return the faster of eager and compiled, in the tower's precision; eager if that is all."""
    size = tower.config.image_size
    pixels = torch.zeros(batch, 3, size, size, dtype=torch.uint8)

    def eager(values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            vectors = tower(tower.normalise(values.to(tower.device)))
            return F.normalize(vectors.float(), dim=-1).cpu()

    if not (shutil.which("g++") or shutil.which("c++")):
        return eager, "eager (no compiler here)"
    mode = "max-autotune" if tower.device.type == "cuda" else "default"
    inner = torch.compile(lambda values: tower(tower.normalise(values)), mode=mode)

    def compiled(values: torch.Tensor) -> torch.Tensor:
        full = torch.cat([values, pixels[len(values) :]])  # one shape, compiled once
        with torch.inference_mode():
            vectors = inner(full.to(tower.device))[: len(values)]
            return F.normalize(vectors.float(), dim=-1).cpu()

    taken = {}
    for name, forward in (("eager", eager), ("torch.compile", compiled)):
        with suppress(RuntimeError):
            forward(pixels)
            started = perf_counter()
            forward(pixels)
            forward(pixels)
            taken[name] = perf_counter() - started
    best = min(taken, key=lambda name: taken[name])
    return (eager if best == "eager" else compiled), f"{best}, the faster of {' and '.join(taken)}"


def _timed(work: Callable[[], Ingested]) -> Ingested:
    started, worked = perf_counter(), process_time()
    done = work()
    return replace(done, wall_seconds=perf_counter() - started, cpu_seconds=process_time() - worked)


def _plain(
    model: Model, forward: Forward, files: Sequence[Path], root: Path, fps: float, batch: int
) -> Found:
    out = root.with_suffix(".parquet")
    vectors: dict[tuple[int, int], NDArray[np.float32]] = {}

    def work() -> Ingested:
        done = plain_ingest(files, out, forward, model.preprocessing, fps=fps, batch=batch)
        vectors.update(done.vectors)
        size = out.stat().st_size
        rows = len(done.vectors)
        return Ingested(done.pictures, done.decode_seconds, done.encode_seconds, 0, 0, rows, size)

    return _timed(work), vectors


def _ingest(model: Model, files: Sequence[Path], root: Path, options: IngestOptions) -> Found:
    def work() -> Ingested:
        with Store.open(root) as store:
            report = ingest(store, model, files, options)
        wrong = [video.reason for video in report.videos if video.outcome != "ready"]
        assert not wrong, wrong
        return Ingested(
            sum(video.pictures for video in report.videos),
            sum(video.decode_seconds for video in report.videos),
            sum(video.encode_seconds for video in report.videos),
            0,
            0,
            report.rows,
            sum(path.stat().st_size for path in root.rglob("*") if path.is_file()),
            "; ".join(f"{video.name}: {video.gate}" for video in report.videos if video.gate),
        )

    done = _timed(work)
    with Store.open(root) as store:
        names = {video.name: video.video_id for video in store.catalog.videos()}
        at = {names[path.name]: number for number, path in enumerate(files)}
        table = store.rows(model.space.key, None, ["video_id", "frame", "embedding"])
    found = {
        (at[row["video_id"]], row["frame"]): np.asarray(row["embedding"], np.float32)
        for row in table.to_pylist()
    }
    return done, found


def _interpolated(
    known: dict[tuple[int, int], NDArray[np.float32]],
    wanted: dict[tuple[int, int], NDArray[np.float32]],
    ratio: float,
) -> dict[tuple[int, int], NDArray[np.float32]]:
    """Vectors at the wanted frames, between those of a lower rate."""
    found = {}
    for file in {file for file, _ in wanted}:
        numbers = sorted(number for own, number in known if own == file)
        for own, frame in wanted:
            if own != file:
                continue
            at = frame * ratio
            right = int(np.searchsorted(numbers, at))
            before = numbers[max(right - 1, 0)]
            after = numbers[min(right, len(numbers) - 1)]
            part = 0.0 if after == before else min(max((at - before) / (after - before), 0.0), 1.0)
            mixed = (1 - part) * known[file, before] + part * known[file, after]
            found[file, frame] = mixed / np.linalg.norm(mixed)
    return found


def _row(
    way: str,
    found: dict[str, list[Ingested]],
    vectors: dict[str, dict[tuple[int, int], NDArray[np.float32]]],
) -> list[Cell]:
    rounds, plain = found[way], found.get(PLAIN, [])
    numbers: list[Cell] = [
        median(getattr(each, name) for each in rounds)
        for name in ("decode_seconds", "encode_seconds", "wall_seconds", "cpu_seconds")
    ]
    gains: list[Cell] = [
        median(getattr(a, name) / getattr(b, name) for a, b in zip(plain, rounds, strict=True))
        if plain
        else None
        for name in ("wall_seconds", "cpu_seconds")
    ]
    drift: list[Cell] = [None, None, None]
    if DENSE in vectors:
        dense, ours = vectors[DENSE], vectors[way]
        both = sorted(dense.keys() & ours.keys())
        apart = np.array([1 - _cosine(ours[key], dense[key]) for key in both])
        events = list(_brief(dense))
        kept = [event for event in events if event in ours and _own(event, ours, dense)]
        share = f"{len(kept)} of {len(events)}" if events else None
        drift = [float(apart.mean()), float(np.quantile(apart, 0.99)), share]
    last = rounds[-1]
    return [way, last.pictures, *numbers, *gains, *drift, last.rows, round(last.size_bytes / 1024)]


def _neighbours(
    key: tuple[int, int], dense: dict[tuple[int, int], NDArray[np.float32]]
) -> list[tuple[int, int]]:
    file, frame = key
    return [each for each in ((file, frame - 1), (file, frame + 1)) if each in dense]


def _brief(dense: dict[tuple[int, int], NDArray[np.float32]]) -> Iterator[tuple[int, int]]:
    """Yield frames unlike both neighbours, which are like each other."""
    for key in dense:
        near = _neighbours(key, dense)
        if len(near) == 2:
            least = min(1 - _cosine(dense[key], dense[each]) for each in near)
            if least > max(APART, BRIEF * (1 - _cosine(dense[near[0]], dense[near[1]]))):
                yield key


def _own(
    key: tuple[int, int],
    ours: dict[tuple[int, int], NDArray[np.float32]],
    dense: dict[tuple[int, int], NDArray[np.float32]],
) -> bool:
    mine = _cosine(ours[key], dense[key])
    return all(mine > _cosine(ours[key], dense[each]) for each in _neighbours(key, dense))


def _cosine(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))
