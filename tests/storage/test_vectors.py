"""Indexes against numpy: exactness, codes, tombstones, filters, files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import StoreError
from engine.storage import inverted, inverted_writer, vectors
from engine.storage.flat import FlatIndex
from engine.storage.inverted import InvertedIndex
from engine.storage.snapshot import Snapshot
from engine.storage.tuning import Tuning
from engine.storage.vectors import Base, extend, load

DIMENSION = 16
WIDE = Tuning(flat_rows=100, probe_share=1.0, exact_rows=10)
CODED = Tuning(flat_rows=100, coded_rows=100, coded_share=0.5, exact_rows=10)
FIRST = 7 << 32


def clustered(count: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((8, DIMENSION))
    drawn = centres[draw.integers(8, size=count)] + 0.5 * draw.standard_normal((count, DIMENSION))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float16)


def batches_of(rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(rows), 30):
        part = rows[start : start + 30]
        yield np.arange(start, start + len(part)) + FIRST, part


def built(rows: np.ndarray, tuning: Tuning, path: Path) -> Base:
    vectors.build(DIMENSION, len(rows), lambda: batches_of(rows), tuning, path)
    return load(path)


@pytest.mark.parametrize(
    ("count", "tuning", "kind"),
    [(80, WIDE, "flat"), (400, WIDE, "ivf40,fp16"), (400, CODED, "ivf40,2bit,fp16")],
)
def test_build_gives_exact_vectors_and_scores(
    tmp_path: Path, count: int, tuning: Tuning, kind: str
) -> None:
    rows = clustered(count)
    base = built(rows, tuning, tmp_path / "index")
    assert base.index.kind == kind
    row_ids = np.arange(count) + FIRST
    assert np.array_equal(base.row_ids, row_ids)
    unpacked = Snapshot(DIMENSION, tuning, base).vectors(row_ids[::-1])
    assert np.array_equal(unpacked, rows[::-1].astype(np.float32))
    query = clustered(1, 5)[0].astype(np.float32)
    scores = rows.astype(np.float32) @ query
    for exact in (False, True):
        found = base.search(query, 9, base.everything, tuning, exact=exact)
        order = np.argsort(-found.scores)
        assert found.row_ids[order].tolist() == row_ids[np.argsort(-scores)][:9].tolist()
        assert found.scores[order] == pytest.approx(np.sort(scores)[::-1][:9], abs=1e-6)
        assert found.exact is (exact or tuning is WIDE)
    above = base.above(query, float(np.sort(scores)[-30]) - 1e-6, base.everything)
    assert sorted(above.row_ids) == sorted(row_ids[np.argsort(-scores)][:30])


def texts_of(mean: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """Queries far from all rows, as texts are: another mean, and only loosely along some row."""
    draw = np.random.default_rng(seed)
    own = rows[draw.integers(len(rows), size=20)].astype(np.float64) - mean
    drawn = 3 * draw.standard_normal(DIMENSION) + own + 0.3 * draw.standard_normal((20, DIMENSION))
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float32)


def test_codes_find_what_texts_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(1).standard_normal((3000, DIMENSION)) + 2  # a cone, as frames are
    rows = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)
    tuning = Tuning(flat_rows=100, coded_rows=100, coded_share=0.9, exact_rows=10)
    base = built(rows, tuning, tmp_path / "index")
    asked = texts_of(rows.astype(np.float64).mean(0), rows, 2)

    def recall(k: int) -> float:
        hits = 0
        for query in asked:
            scores = rows.astype(np.float32) @ query
            found = base.search(query, k, base.everything, tuning)
            assert not found.exact
            assert f"best {inverted.candidates(k)} looked at" in found.how
            assert found.scores == pytest.approx(scores[found.row_ids - FIRST], abs=1e-6)
            hits += len(np.intersect1d(found.row_ids - FIRST, np.argsort(-scores)[:k]))
        return hits / (k * len(asked))

    assert recall(10) >= 0.95
    monkeypatch.setattr(inverted, "candidates", lambda k: k)  # what the codes alone would find
    assert recall(10) < 0.95


@pytest.mark.parametrize("tuning", [WIDE, CODED])
@pytest.mark.parametrize("count", [80, 400])
def test_the_last_vector_of_a_row_counts(tmp_path: Path, count: int, tuning: Tuning) -> None:
    rows = clustered(count)
    base = built(rows, tuning, tmp_path / "index")
    row_id, other = np.array([FIRST + 3]), -rows[3:4]
    fresh = np.array([FIRST + count, FIRST - 1])
    without = base.only(~np.isin(base.row_ids, [*row_id, FIRST + 5]))
    ids, more = np.concatenate([row_id, fresh]), np.concatenate([other, -rows[:2]])
    extend(without, ids, more, tmp_path / "more")
    read = load(tmp_path / "more")
    assert len(read.row_ids) == read.index.size == count + 1  # tombstones are gone
    assert read.index.kind == base.index.kind
    expected = {FIRST + at: row for at, row in enumerate(rows.astype(np.float32)) if at != 5}
    expected |= dict(zip(ids.tolist(), more.astype(np.float32), strict=True))
    assert read.row_ids.tolist() == sorted(expected)
    unpacked = read.unpack(read.positions)
    assert np.array_equal(unpacked, [expected[row] for row in read.row_ids.tolist()])
    found = read.search(other[0].astype(np.float32), 1, read.everything, tuning)
    assert found.row_ids.tolist() == row_id.tolist()
    assert found.scores[0] == pytest.approx(1, abs=1e-3)
    assert base.index.size == count


def test_an_extended_index_finds_what_a_built_one_finds(tmp_path: Path) -> None:
    rows = clustered(400)
    base = built(rows, CODED, tmp_path / "index")
    extend(base.only(np.arange(400) < 200), base.row_ids[200:], rows[200:], tmp_path / "more")
    more = load(tmp_path / "more")
    assert isinstance(base.index, InvertedIndex)
    assert isinstance(more.index, InvertedIndex)
    lists = base.index.list_of[base.positions], more.index.list_of[more.positions]
    assert np.array_equal(*lists)
    for query in clustered(10, 6).astype(np.float32):
        found = [one.search(query, 9, one.everything, CODED) for one in (base, more)]
        assert np.array_equal(*(np.sort(each.row_ids) for each in found))


@pytest.mark.parametrize("tuning", [WIDE, CODED])
def test_building_twice_gives_the_same(tmp_path: Path, tuning: Tuning) -> None:
    for name in ("one", "two"):
        built(clustered(400), tuning, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_groups_of_rows_do_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(clustered(400), WIDE, tmp_path / "one")
    monkeypatch.setattr(inverted_writer, "_GROUP_BYTES", 2000)
    built(clustered(400), WIDE, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("coded", [False, True])
def test_rows_that_go_while_an_index_is_built_are_left_out(tmp_path: Path, coded: bool) -> None:
    rows, calls = clustered(400), 0

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal calls
        calls += 1
        yield from list(batches_of(rows))[: 14 - 3 * (calls > 2)]

    inverted_writer.build(DIMENSION, 400, batches, tmp_path / "index", coded=coded)
    base = load(tmp_path / "index")
    assert (base.row_ids - FIRST).tolist() == list(range(330))
    assert np.array_equal(base.unpack(base.positions), rows[:330].astype(np.float32))
    query = rows[399].astype(np.float32)
    best = np.argsort(-(rows[:330].astype(np.float32) @ query))[:5]
    found = base.search(query, 5, base.everything, CODED, exact=True)
    assert sorted(found.row_ids - FIRST) == sorted(best)


@pytest.mark.parametrize("coded_rows", [100, 10_000])
def test_a_filter_far_from_the_query_is_still_served(tmp_path: Path, coded_rows: int) -> None:
    rows = clustered(2000)
    narrow = Tuning(
        flat_rows=100, coded_rows=coded_rows, probe_share=0.02, coded_share=0.02, exact_rows=5
    )
    base = built(rows, narrow, tmp_path / "index")
    query = rows[0].astype(np.float32)
    far = np.argsort(rows.astype(np.float32) @ query)[:300]
    among = base.choose(base.find(np.sort(far) + FIRST))
    for k in (20, 150, 400):
        found = base.search(query, k, among, narrow)
        assert len(np.unique(found.row_ids)) == min(k, 300)
        assert np.isin(found.row_ids - FIRST, far).all()
    scores = rows.astype(np.float32) @ query
    for few in (far[:0], far[:5], far[5:15]):  # fetched one by one, and found in a scan
        among = base.choose(base.find(np.sort(few) + FIRST))
        found = base.search(query, 20, among, replace(narrow, exact_rows=10))
        assert found.exact
        assert sorted(found.row_ids - FIRST) == sorted(few)
        assert found.scores == pytest.approx(scores[found.row_ids - FIRST], abs=1e-6)


def test_a_broken_index_file_is_an_error(tmp_path: Path) -> None:
    for content in (b"", b"no index", b"dejavu-lists-1", b"dejavu-lists-1" + bytes(5000)):
        (tmp_path / "index").write_bytes(content)
        with pytest.raises(StoreError, match="run `index build`"):
            load(tmp_path / "index")


@pytest.mark.parametrize("count", [1, 20])
def test_a_small_index_is_read_again(tmp_path: Path, count: int) -> None:
    base = built(clustered(count), WIDE, tmp_path / "index")
    assert isinstance(base.index, FlatIndex)
    assert (base.row_ids - FIRST).tolist() == list(range(count))


def test_the_delta_keeps_few_blocks() -> None:
    snapshot, rows = Snapshot(DIMENSION, Tuning()), clustered(600)
    for start in range(0, 600, 4):
        row_ids = np.arange(start, start + 4)
        snapshot = snapshot.adding(row_ids, rows[start : start + 4])
    assert snapshot.num_rows == 600
    assert len(snapshot.delta) <= 10
    assert np.array_equal(snapshot.vectors(np.arange(600)), rows.astype(np.float32))
    fewer = snapshot.without(np.array([5, 599, 1000]))
    assert (fewer.num_rows, snapshot.num_rows) == (598, 600)
    assert fewer.has(np.array([4, 5, 6, 1000])).tolist() == [True, False, True, False]
