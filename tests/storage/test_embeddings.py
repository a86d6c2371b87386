"""Parquet parts: what goes in comes out, and a damaged file says so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StoreError, UsageError
from engine.storage.embeddings import (
    Rows,
    read_part,
    to_table,
    vector_lists,
    vectors_of,
    write_part,
)
from schemas import tables


def rows_of(count: int, dimension: int, seed: int) -> Rows:
    draw = np.random.default_rng(seed)
    drawn = draw.standard_normal((count, dimension)) + 1e-3
    vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    drift = np.where(draw.random(count) < 0.5, np.nan, draw.random(count))
    frame = np.arange(count, dtype=np.int32)
    exact = draw.random(count) < 0.5
    return Rows(frame, frame / 3, ["B"] * count, vectors, draw.random(count), drift, exact)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 40), dimension=st.integers(1, 33), seed=st.integers(0, 1000))
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, count: int, dimension: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "part.parquet"
    rows = rows_of(count, dimension, seed)
    write_part(to_table(rows, "reusevit"), path)
    table = read_part(path)
    assert table.schema.equals(tables.embeddings(dimension))
    assert np.array_equal(vectors_of(table), rows.embeddings.astype(np.float16))
    assert table.column("seconds").to_pylist() == rows.seconds.tolist()
    drift = table.column("drift").to_numpy()
    assert np.array_equal(drift, rows.drift.astype(np.float32), equal_nan=True)
    assert read_part(path, ["frame"]).schema.names == ["frame"]


def test_a_damaged_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_part(to_table(rows_of(30, 8, 0), "dense"), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"part\.parquet cannot be read: .*; ingest again"):
        read_part(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read_part(tmp_path / "none.parquet")


def test_rows_that_do_not_fit_are_refused() -> None:
    good = rows_of(3, 4, 0)
    columns = [getattr(good, name) for name in Rows.__slots__]
    with pytest.raises(UsageError, match="expected 3 rows in every column"):
        Rows(columns[0], columns[1][:2], *columns[2:])
    with pytest.raises(UsageError, match="every frame once"):
        Rows(np.zeros(3, np.int32), *columns[1:])
    with pytest.raises(UsageError, match="length 1"):
        Rows(*columns[:3], good.embeddings * 1.1, *columns[4:])


def test_vectors_of_a_slice() -> None:
    table = pa.concat_tables([to_table(rows_of(5, 4, 0), "a"), to_table(rows_of(5, 4, 1), "b")])
    expected = np.concatenate([rows_of(5, 4, seed).embeddings for seed in (0, 1)])
    assert np.array_equal(vectors_of(table.slice(3, 4)), expected[3:7].astype(np.float16))


def test_an_older_part_with_lists_reads_alike(tmp_path: Path) -> None:
    rows = rows_of(7, 5, 0)
    table = to_table(rows, "dense")
    lists = table.set_column(
        table.schema.get_field_index("embedding"), "embedding", vector_lists(rows.embeddings)
    )
    pq.write_table(lists, tmp_path / "old.parquet")
    read = read_part(tmp_path / "old.parquet")
    assert read.schema.equals(table.schema)
    assert np.array_equal(vectors_of(read), vectors_of(table))
    assert read_part(tmp_path / "old.parquet", ["frame"]).schema.names == ["frame"]
