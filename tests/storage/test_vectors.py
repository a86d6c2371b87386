"""FAISS indexes against numpy: exactness, tombstones, filters, files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StoreError
from engine.storage.snapshot import Snapshot
from engine.storage.vectors import Tuning, build, extend, load

DIMENSION = 16
WIDE = Tuning(flat_rows=100, probe_share=1.0, exact_rows=10)


def clustered(count: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((8, DIMENSION))
    drawn = centres[draw.integers(8, size=count)] + 0.5 * draw.standard_normal((count, DIMENSION))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float16)


def batches_of(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(vectors), 30):
        rows = vectors[start : start + 30]
        yield np.arange(start, start + len(rows)) + (7 << 32), rows


@pytest.mark.parametrize(("count", "kind"), [(80, "flat"), (400, "ivf40,fp16")])
def test_build_gives_exact_vectors_and_scores(count: int, kind: str) -> None:
    vectors = clustered(count)
    base = build(DIMENSION, count, lambda: batches_of(vectors), WIDE)
    assert base.index.kind == kind
    row_ids = np.arange(count) + (7 << 32)
    unpacked = Snapshot(DIMENSION, WIDE, base).vectors(row_ids[::-1])
    assert np.array_equal(unpacked, vectors[::-1].astype(np.float32))
    query = clustered(1, 5)[0].astype(np.float32)
    found = base.search(query, 9, base.everything, WIDE)
    scores = vectors.astype(np.float32) @ query
    assert found.row_ids.tolist() == row_ids[np.argsort(-scores)][:9].tolist()
    assert found.scores == pytest.approx(np.sort(scores)[::-1][:9], abs=1e-6)


@pytest.mark.parametrize("count", [80, 400])
def test_the_last_vector_of_a_row_counts(tmp_path: Path, count: int) -> None:
    vectors = clustered(count)
    base = build(DIMENSION, count, lambda: batches_of(vectors), WIDE)
    row_id, other = np.array([(7 << 32) + 3]), -vectors[3:4]
    more = extend(base.only(base.row_ids != row_id[0]), row_id, other)
    assert more.index.size == count + 1
    assert len(more.row_ids) == count
    more.index.save(tmp_path / "index")
    read = load(tmp_path / "index")
    for one in (more, read):
        found = one.search(other[0].astype(np.float32), 1, one.everything, WIDE)
        assert found.row_ids.tolist() == row_id.tolist()
        assert found.scores[0] == pytest.approx(1, abs=1e-3)
    assert base.index.size == count


def test_building_twice_gives_the_same(tmp_path: Path) -> None:
    vectors = clustered(400)
    for name in ("one", "two"):
        base = build(DIMENSION, 400, lambda: batches_of(vectors), WIDE)
        base.index.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_filter_far_from_the_query_is_still_served() -> None:
    vectors = clustered(2000)
    narrow = Tuning(flat_rows=100, probe_share=0.02, exact_rows=5)
    base = build(DIMENSION, 2000, lambda: batches_of(vectors), narrow)
    query = vectors[0].astype(np.float32)
    far = np.argsort(vectors.astype(np.float32) @ query)[:300]
    found = base.search(query, 20, base.choose(np.sort(far)), narrow)
    assert len(found.row_ids) == 20
    assert np.isin(found.row_ids - (7 << 32), far).all()


def test_a_broken_index_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(b"no index")
    with pytest.raises(StoreError, match="run `index build`"):
        load(tmp_path / "index")


def test_the_delta_keeps_few_blocks() -> None:
    snapshot, vectors = Snapshot(DIMENSION, Tuning()), clustered(600)
    for start in range(0, 600, 4):
        row_ids = np.arange(start, start + 4)
        snapshot = snapshot.adding(row_ids, vectors[start : start + 4])
    assert snapshot.num_rows == 600
    assert len(snapshot.delta) <= 10
    assert np.array_equal(snapshot.vectors(np.arange(600)), vectors.astype(np.float32))
    fewer = snapshot.without(np.array([5, 599, 1000]))
    assert (fewer.num_rows, snapshot.num_rows) == (598, 600)
    assert fewer.has(np.array([4, 5, 6, 1000])).tolist() == [True, False, True, False]
