"""Rows as they are stored: what goes in comes out, and what does not fit is refused."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.storage.embeddings import (
    Rows,
    to_table,
    vector_lists,
    vectors_of,
    with_packed_vectors,
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
def test_what_goes_in_comes_out(count: int, dimension: int, seed: int) -> None:
    rows = rows_of(count, dimension, seed)
    table = to_table(rows, 7, "reusevit")
    assert table.schema.equals(tables.embeddings(dimension))
    assert np.array_equal(vectors_of(table), rows.embeddings.astype(np.float16))
    assert table.column("seconds").to_pylist() == rows.seconds.tolist()
    drift = table.column("drift").to_numpy()
    assert np.array_equal(drift, rows.drift.astype(np.float32), equal_nan=True)
    assert set(table.column("video_id").to_pylist()) <= {7}


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
    table = pa.concat_tables(
        [to_table(rows_of(5, 4, 0), 1, "a"), to_table(rows_of(5, 4, 1), 2, "b")]
    )
    expected = np.concatenate([rows_of(5, 4, seed).embeddings for seed in (0, 1)])
    assert np.array_equal(vectors_of(table.slice(3, 4)), expected[3:7].astype(np.float16))


def test_an_older_part_with_lists_reads_alike() -> None:
    rows = rows_of(7, 5, 0)
    table = to_table(rows, 1, "dense")
    lists = table.set_column(
        table.schema.get_field_index("embedding"), "embedding", vector_lists(rows.embeddings)
    )
    read = with_packed_vectors(lists)
    assert read.schema.equals(table.schema)
    assert np.array_equal(vectors_of(read), vectors_of(table))
    assert with_packed_vectors(table) is table
