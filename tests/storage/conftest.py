"""Stores on a temporary folder, and rows to put into them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

DIMENSION = 8
SMALL = Tuning(
    flat_rows=60, coded_rows=200, probe_share=1.0, coded_share=0.99, exact_rows=10, delta_rows=25
)

MakeRows = Callable[..., Rows]
MakeInfo = Callable[[str], VideoInfo]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make_vectors() -> Callable[[int, int], np.ndarray]:
    """Unit vectors `[count, 8]` that a seed determines."""

    def make(count: int, seed: int) -> np.ndarray:
        return unit(np.random.default_rng(seed).standard_normal((count, DIMENSION)))

    return make


@pytest.fixture
def make_rows(make_vectors: Callable[[int, int], np.ndarray]) -> MakeRows:
    """Rows of frames `[start, stop)` at two frames per second."""

    def make(start: int, stop: int, seed: int = 0, *, exact: bool = False) -> Rows:
        count, frame = stop - start, np.arange(start, stop, dtype=np.int32)
        drift = np.zeros(count) if exact else np.full(count, np.nan)
        reuse = np.full(count, 0 if exact else 0.5, np.float32)
        vectors = make_vectors(count, seed)
        kinds = np.full(count, exact)
        return Rows(frame, frame / 2, ["I"] * count, vectors, reuse, drift, kinds)

    return make


@pytest.fixture
def make_info() -> MakeInfo:
    """What probing a file at a path might have told."""

    def make(path: str) -> VideoInfo:
        return VideoInfo(path, "h264", 64, 48, 0, 30.0, 10.0, 0.0, 300, 1234, "yuv420p", False)

    return make


@pytest.fixture
def space() -> Space:
    return Space("tiny", "local/tiny", "local", "0" * 64, "{}", DIMENSION)


@pytest.fixture
def empty_store(tmp_path: Path, space: Space) -> Iterator[Store]:
    """A store with a space, whose index changes its ways at small sizes."""
    with Store.open(tmp_path / "data", tuning=SMALL) as store:
        store.catalog.add_space(space)
        yield store


@pytest.fixture
def store_with_two_videos(
    empty_store: Store, space: Space, make_rows: MakeRows, make_info: MakeInfo
) -> Store:
    """Videos `a` and `b`, each with 20 approximate rows in two stretches."""
    for name, seed in (("a", 1), ("b", 2)):
        video_id = empty_store.catalog.add_video(make_info(f"/{name}.mp4"), f"hash {name}", name)
        gops = [Gop(i, i * 5.0, i * 5.0 + 5, 9, i) for i in (0, 1)]
        empty_store.catalog.add_gops(video_id, gops)
        for stretch in range(2):
            rows = make_rows(stretch * 10, stretch * 10 + 10, seed * 10 + stretch)
            where = (stretch, stretch * 5.0, stretch * 5.0 + 5)
            empty_store.write_part(video_id, space.key, Sampling(2), "reusevit", *where, rows)
        empty_store.finish_segment(video_id, space.key, Sampling(2), "reusevit", 20)
        empty_store.catalog.set_status(video_id, "ready")
    return empty_store
