"""Search: latency, recall, memory and build time of the store's index by number of rows."""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from engine.evaluation.report import Report
from engine.storage import row_id
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

DIMENSION = 512
VIDEO_ROWS = 5_000  # some 40 minutes at two frames per second
SCENE_ROWS = 20
NUM_QUERIES = 200
TOP = 10
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Measured:
    """One size; times in milliseconds unless the name says otherwise."""

    num_rows: int
    index: str
    write_seconds: float
    build_seconds: float
    load_seconds: float
    index_mib: float
    peak_mib: float  # of the process that only opens, loads and searches
    p50: float
    p99: float
    recall_frames: float  # of the exact ten, for queries like stored frames
    recall_texts: float  # for queries like texts: from another cone, loosely aligned
    one_video_p50: float
    third_p50: float
    all_scores_p50: float


# the columns of the two tables
SEARCHED = {
    "num_rows": "rows",
    "p50": "p50",
    "p99": "p99",
    "recall_frames": "recall",
    "recall_texts": "of texts",
    "one_video_p50": "one video",
    "third_p50": "a third",
    "all_scores_p50": "all scores",
}
BUILT = {
    "num_rows": "rows",
    "index": "index",
    "write_seconds": "write s",
    "build_seconds": "build s",
    "load_seconds": "load s",
    "index_mib": "index MiB",
    "peak_mib": "peak MiB",
}


@dataclass(frozen=True, slots=True)
class Cone:
    """Vectors as CLIP gives them: a common direction, and what differs on a decaying spectrum."""

    mean: np.ndarray  # float32 [E]
    axes: np.ndarray  # float32 [E, E], scaled by the spread along each
    text_mean: np.ndarray  # float32 [E], where texts lie
    seed: int = 0  # of everything that is drawn


def cone_like(texts: np.ndarray | None, seed: int = 0) -> Cone:
    """Return a cone with the spectrum and spread of real text embeddings `[n, E]`, if given.

    Without them: mean cosine 0.74 and an effective dimension near 100, as measured on CLIP B/32.
    """
    draw = np.random.default_rng(seed)
    turn = np.linalg.qr(draw.standard_normal((DIMENSION, DIMENSION)))[0]
    common, spread = 0.74, (1.0 + np.arange(DIMENSION)) ** -0.45
    if texts is not None:
        unit = _unit(texts.astype(np.float64))
        common = float(np.linalg.norm(unit.mean(0)) ** 2)
        spread = np.linalg.svd(unit - unit.mean(0), compute_uv=False)[:DIMENSION]
        spread = np.pad(spread, (0, DIMENSION - len(spread)), constant_values=spread[-1])
    spread = spread * np.sqrt((1 - common) / (spread**2).sum())
    mean, text_mean = turn[0] * np.sqrt(common), (0.3 * turn[0] + 0.954 * turn[1]) * np.sqrt(common)
    axes = turn.T * spread
    mean, axes, text_mean = (part.astype(np.float32) for part in (mean, axes, text_mean))
    return Cone(mean, axes, text_mean, seed)


def video_vectors(cone: Cone, video: int, count: int) -> np.ndarray:
    """Return the frames of one video: scenes, and small changes within each: float32 `[n, E]`."""
    draw = np.random.default_rng([1, video, cone.seed])
    scenes = draw.standard_normal((-(-count // SCENE_ROWS), DIMENSION), np.float32)
    own = np.repeat(scenes, SCENE_ROWS, axis=0)[:count]
    # cosine between frames of one scene about 0.97 with these shares
    mixed = 0.94 * own + 0.34 * draw.standard_normal(own.shape, np.float32)
    return _unit(cone.mean + mixed @ cone.axes.T)


def queries_for(cone: Cone, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return queries like frames and queries like texts, each for a stored scene: `[200, E]`."""
    draw = np.random.default_rng([2, cone.seed])
    frames, texts = [], []
    for _ in range(NUM_QUERIES):
        video = int(draw.integers(-(-num_rows // VIDEO_ROWS)))
        # the first scene that the video's own generator draws
        scene = np.random.default_rng([1, video, cone.seed]).standard_normal(
            (1, DIMENSION), np.float32
        )[0]
        noise = draw.standard_normal((2, DIMENSION), np.float32)
        frames.append(cone.mean + cone.axes @ (0.94 * scene + 0.34 * noise[0]))
        texts.append(cone.text_mean + cone.axes @ (0.5 * scene + 0.87 * noise[1]))
    return _unit(np.array(frames)), _unit(np.array(texts))


def run(
    *,
    sizes: Sequence[int] = (10_000, 100_000, 1_000_000),
    texts: Path | None = None,
    folder: Path | None = None,
) -> Report:
    """Measure every size in a process of its own; `texts` is an .npy of real text embeddings."""
    measured = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for size in sizes:
            with tempfile.TemporaryDirectory(dir=folder) as root:
                truth = pool.submit(write, Path(root), size, texts).result()
                seconds = pool.submit(build, Path(root)).result()
                one = pool.submit(measure, Path(root), size, texts, truth, seconds)
                measured.append(one.result())
    return _report(measured, texts)


@dataclass(frozen=True, slots=True)
class Written:
    """What writing took, and the exact answers."""

    write_seconds: float
    nearest: np.ndarray  # int64 [400, 10] in no order, frames first, then texts


def write(root: Path, num_rows: int, texts: Path | None) -> Written:
    """Write the rows video by video; the exact answers come along the way."""
    cone = cone_like(None if texts is None else np.load(texts))
    queries = np.concatenate(queries_for(cone, num_rows))
    ids = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    writing = 0.0
    with Store.open(root) as store:
        store.catalog.add_space(SPACE)
        for video_id, vectors in made_videos(store, cone, num_rows):
            writing += write_video(store, video_id, vectors)
            own = row_id.pack(video_id, np.arange(len(vectors)))
            rounded = vectors.astype(np.float16).astype(np.float32)
            scores = np.concatenate([scores, queries @ rounded.T], axis=1)
            ids = np.concatenate([ids, np.broadcast_to(own, (len(queries), len(own)))], axis=1)
            best = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
            scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    return Written(writing, ids)


def write_video(store: Store, video_id: int, vectors: np.ndarray) -> float:
    """Write the rows of a video and return the seconds that took."""
    start = time.perf_counter()
    store.write_part(video_id, SPACE.key, Sampling(2), "dense", 0, 0.0, 1.0, _rows(vectors))
    store.finish_segment(video_id, SPACE.key, Sampling(2), "dense", len(vectors))
    return time.perf_counter() - start


def build(root: Path) -> float:
    """Build the index from the parts and return the seconds that took."""
    with Store.open(root) as store:
        start = time.perf_counter()
        store.build_index(SPACE.key)
        return time.perf_counter() - start


def measure(
    root: Path, num_rows: int, texts: Path | None, truth: Written, build_seconds: float
) -> Measured:
    """Open the filled folder as a server does, and search it one query after the other."""
    cone = cone_like(None if texts is None else np.load(texts))
    frames, like_texts = queries_for(cone, num_rows)
    with Store.open(root) as store:
        start = time.perf_counter()
        store.load_index(SPACE.key)
        loading = time.perf_counter() - start
        row_ids = store.rows(SPACE.key, columns=["row_id"]).column("row_id").to_numpy()
        found, times = _search(store, np.concatenate([frames, like_texts]))
        hit = [len(np.intersect1d(a, b)) / TOP for a, b in zip(found, truth.nearest, strict=True)]
        one_video = row_ids[row_id.videos_of(row_ids) == row_id.videos_of(row_ids[0])]
        third = row_ids[np.random.default_rng(3).random(len(row_ids)) < 1 / 3]
        return Measured(
            num_rows,
            store.index_status()[0].kind,
            truth.write_seconds,
            build_seconds,
            loading,
            sum(path.stat().st_size for path in store.layout.indexes.rglob("*.faiss")) / MIB,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB,
            float(np.percentile(times, 50)),
            float(np.percentile(times, 99)),
            float(np.mean(hit[:NUM_QUERIES])),
            float(np.mean(hit[NUM_QUERIES:])),
            _median(lambda q: store.search(SPACE.key, q, TOP, allowed=one_video), like_texts[:50]),
            _median(lambda q: store.search(SPACE.key, q, TOP, allowed=third), like_texts[:50]),
            _median(lambda q: store.scores(SPACE.key, q), like_texts[:5]),
        )


SPACE = Space("bench", "synthetic", "local", "0" * 64, "{}", DIMENSION)


def made_videos(store: Store, cone: Cone, num_rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """Register videos of so many rows in all, and yield the id and the vectors of each."""
    for video in range(-(-num_rows // VIDEO_ROWS)):
        count = min(VIDEO_ROWS, num_rows - video * VIDEO_ROWS)
        info = VideoInfo(
            f"/{video}.mp4", "h264", 64, 64, 0, 30.0, count / 2, 0.0, None, 0, "yuv420p", False
        )
        video_id = store.catalog.add_video(info, f"{video}", f"{video}")
        gops = [Gop(at, 2.0 * at, 2.0 * at + 2, 60, at) for at in range(-(-count // 4))]
        store.catalog.add_gops(video_id, gops)
        yield video_id, video_vectors(cone, video, count)


def _rows(vectors: np.ndarray) -> Rows:
    count = len(vectors)
    frame, flat = np.arange(count, dtype=np.int32), np.zeros(count, np.float32)
    return Rows(frame, frame / 2, ["P"] * count, vectors, flat, flat, np.ones(count, bool))


def _search(store: Store, queries: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(store.search(SPACE.key, query, TOP).row_ids)
        times.append((time.perf_counter() - start) * 1e3)
    return found, times


def _median(call: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    times = []
    for query in queries:
        start = time.perf_counter()
        call(query)
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _report(measured: Sequence[Measured], texts: Path | None) -> Report:
    shape = "real text embeddings" if texts else "a cone of mean cosine 0.74"
    return Report(
        "Search",
        tuple(SEARCHED.values()),
        [tuple(getattr(one, name) for name in SEARCHED) for one in measured],
        (
            f"{DIMENSION} dimensions, top {TOP}, one query at a time, vectors shaped like {shape};",
            f"times in ms, medians but p99, {2 * NUM_QUERIES} queries; recall against the exact"
            f" {TOP}; scenes of {SCENE_ROWS} near-equal frames",
        ),
        {"measured": [asdict(one) for one in measured]},
        (
            Report(
                "What it takes",
                tuple(BUILT.values()),
                [tuple(getattr(one, name) for name in BUILT) for one in measured],
            ),
        ),
    )
