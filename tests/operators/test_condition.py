"""Conditions mean what DuckDB means by them, or are left to it."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.operators.condition import read_condition

SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.int64()),
        pa.field("frame", pa.int32()),
        pa.field("seconds", pa.float64()),
        pa.field("picture", pa.string()),
        pa.field("drift", pa.float32()),
        pa.field("score", pa.float64()),
    ]
)
DRAW = np.random.default_rng(0)
COUNT = 60
ROWS = pa.table(
    {
        "video_id": DRAW.integers(-3, 4, COUNT),
        "frame": DRAW.integers(0, 5, COUNT),
        "seconds": DRAW.integers(-4, 8, COUNT) / 4 + DRAW.choice([0.0, 0.1], COUNT),
        "picture": DRAW.choice(["I", "P", "B", "it's"], COUNT),
        "drift": pa.array(DRAW.random(COUNT), mask=DRAW.random(COUNT) < 0.3),
        "score": pa.array(DRAW.integers(-2, 3, COUNT) / 2, mask=DRAW.random(COUNT) < 0.3),
    }
).cast(SCHEMA)

NUMBERS = st.sampled_from(
    ["0", "1", "-2", "0.5", "-0.25", "1.1", "3", "2147483647", "4294967296", "0.1", "7e0", "NULL"]
)
COLUMNS = st.sampled_from(["video_id", "FRAME", "seconds", "score", "drift", "r.frame"])
COMPARE = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "!="])
LEAVES = st.one_of(
    st.tuples(COLUMNS, COMPARE, NUMBERS).map(" ".join),
    st.tuples(NUMBERS, COMPARE, COLUMNS).map(" ".join),
    st.tuples(COLUMNS, st.lists(NUMBERS, min_size=1, max_size=3)).map(
        lambda item: f"{item[0]} IN ({', '.join(item[1])})"
    ),
    st.tuples(COLUMNS, NUMBERS, NUMBERS).map(lambda t: f"{t[0]} BETWEEN {t[1]} AND {t[2]}"),
    st.tuples(COLUMNS, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(" ".join),
    st.sampled_from(["picture = 'I'", "picture <> 'it''s'", "picture IN ('P', 'B')"]),
    st.sampled_from(
        ["picture < 'P'", "frame + 1 > 2", "true", "picture LIKE 'i%'", "abs(frame) = 1"]
    ),
)
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        ),
        inner.map(lambda text: f"NOT ({text})"),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def stock() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("r", ROWS)
    return connection


@given(predicate=PREDICATES)
@settings(max_examples=300, deadline=None)
def test_a_condition_keeps_the_rows_that_duckdb_keeps(
    stock: duckdb.DuckDBPyConnection, predicate: str
) -> None:
    condition = read_condition(predicate, SCHEMA)
    if condition is not None:
        kept = stock.sql(f"SELECT coalesce({predicate}, false) AS kept FROM r").to_arrow_table()
        assert condition.holds(ROWS.column).tolist() == kept.column("kept").to_pylist()


@pytest.mark.parametrize(
    "predicate",
    [
        "seconds < 5",
        "video_id = 3 AND seconds >= 2.5",
        "video_id IN (1, 2, 3) OR NOT picture = 'I'",
        "score > 0.3",
        "seconds BETWEEN 1 AND 2",
        "drift IS NULL",
    ],
)
def test_what_is_typed_every_day_is_a_condition(predicate: str) -> None:
    assert read_condition(predicate, SCHEMA) is not None


@pytest.mark.parametrize(
    "predicate",
    [
        "drift < 0.1",  # a float32 column: DuckDB rounds the constant first
        "video_id < 1.5",
        "frame = 4294967296",
        "seconds < 0.1234567890123456789",
        "picture < 'P'",
        "frame + 1 > 2",
        "video_id IN (SELECT 1)",
        "seconds < NULL",
        "nothing = 1",
    ],
)
def test_what_might_mean_another_thing_is_left_to_duckdb(predicate: str) -> None:
    assert read_condition(predicate, SCHEMA) is None
