"""What is done without DuckDB is what a stock DuckDB does: values, order, names and types."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from engine.operators.plain import MOST_ROWS, Plain
from engine.planner.plain import read_plain

SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.int64(), nullable=False),
        pa.field("frame", pa.int32()),
        pa.field("seconds", pa.float64()),
        pa.field("drift", pa.float32()),
        pa.field("picture", pa.string()),
        pa.field("exact", pa.bool_()),
        pa.field("__match_1", pa.float64()),
    ]
)


def read(sql: str, schema: pa.Schema = SCHEMA) -> Plain | None:
    query = parse_one(sql, dialect="duckdb")
    assert isinstance(query, exp.Query)
    return read_plain(query, {"frames_1": schema})


def rows(seed: int, count: int, *, nan: bool = False) -> pa.Table:
    draw = np.random.default_rng(seed)

    def some(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.array(values.tolist(), kind, mask=draw.random(count) < 0.2)

    few = draw.integers(-3, 4, count)
    return pa.table(
        [
            pa.array(draw.permutation(count), pa.int64()),
            some(few, pa.int32()),
            some(np.where(nan, np.nan, few / 2) if nan else few / 2, pa.float64()),
            some(few / 4, pa.float32()),
            some(np.array(["", "I", "P", "ä", "Z", "z\U0001f600"])[few % 6], pa.string()),
            some(few > 0, pa.bool_()),
            some(draw.integers(-2, 3, count) / 8, pa.float64()),
        ],
        schema=SCHEMA,
    )


def stock(sql: str, table: pa.Table) -> pa.Table:
    with duckdb.connect() as database:
        database.register("frames_1", table)
        return database.sql(sql).to_arrow_table()


COLUMNS = [field.name for field in SCHEMA]
VISIBLE = COLUMNS[:-1]
CONDITIONS = [
    *("f.seconds < 1", "frame >= 0 AND f.seconds > -1.5", "frame IN (1, 2) OR picture = 'I'"),
    *("f.__match_1 > 0.1", "NOT frame = 1", "seconds BETWEEN -1 AND 1", "drift IS NULL", "s > 0"),
]


@st.composite
def statements(draw: st.DrawFn) -> str:
    named = draw(st.lists(st.sampled_from(VISIBLE), min_size=1, max_size=4, unique=True))
    shown = [f"f.{name}" if draw(st.booleans()) else name for name in named]
    if draw(st.booleans()):
        shown = [f"{item} AS c{number}" for number, item in enumerate(shown)]
    if draw(st.integers(0, 4)) == 0:
        shown = ["* EXCLUDE (__match_1)"]
    sql = f"SELECT {', '.join([*shown, 'f.__match_1 AS s'])} FROM frames_1 AS f"
    if draw(st.booleans()):
        sql += f" WHERE {draw(st.sampled_from(CONDITIONS))}"
    keys = draw(st.lists(st.sampled_from([*COLUMNS, "s", "1"]), max_size=3, unique=True))
    ways = [
        st.sampled_from(["", *more])
        for more in ([" ASC", " DESC"], [" NULLS FIRST", " NULLS LAST"])
    ]
    words = [key + "".join(map(draw, ways)) for key in keys]
    # the key leaves no choice among equals
    sql += f" ORDER BY {', '.join([*words, 'f.video_id DESC'])}"
    if draw(st.booleans()):
        sql += f" LIMIT {draw(st.integers(0, 12))}"
        sql += draw(st.sampled_from(["", " OFFSET 0", " OFFSET 3"]))
    return sql


@settings(max_examples=150, deadline=None)
@given(statements(), st.integers(0, 9), st.integers(0, 40))
def test_it_is_what_duckdb_gives(sql: str, seed: int, count: int) -> None:
    table, plain = rows(seed, count), read(sql)
    assert plain is not None, sql
    expected = stock(sql, table)
    found = plain.answer(table, max_rows=1000)
    assert found is not None
    assert found.schema == expected.schema
    assert found.equals(expected)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT DISTINCT frame FROM frames_1 AS f",
        "SELECT frame + 1 AS n FROM frames_1 AS f",
        "SELECT count(*) FROM frames_1 AS f",
        "SELECT FRAME FROM frames_1 AS f",  # is shown as it is written here or there
        "SELECT frame, frame FROM frames_1 AS f",
        "SELECT frame AS a, seconds AS A FROM frames_1 AS f",
        "SELECT seconds AS frame FROM frames_1 AS f ORDER BY frame",
        "SELECT frame FROM frames_1 AS frame",
        "SELECT frame FROM frames_1 AS f (a, b)",
        "SELECT frame FROM frames_1 AS f LIMIT 10%",
        "SELECT frame FROM frames_1 AS f LIMIT (SELECT 1)",
        "SELECT frame FROM frames_1 AS f ORDER BY 2",
        "SELECT frame FROM frames_1 AS f ORDER BY -seconds",
        "SELECT picture FROM frames_1 AS f ORDER BY picture COLLATE nocase",
        "SELECT frame FROM frames_1 AS f ORDER BY ALL",
        "SELECT frame FROM frames_1 AS f WHERE seconds < drift",
        "SELECT frame FROM frames_1 AS f WHERE g.seconds < 3",
        "SELECT frame FROM frames_1 AS f, frames_1 AS g",
        "SELECT frame FROM frames_1 AS f TABLESAMPLE 3 ROWS",
        "SELECT frame FROM frames_1 AS f QUALIFY row_number() OVER () = 1",
        "SELECT frame FROM frames_1 AS f UNION ALL SELECT 1",
        "SELECT * REPLACE (1 AS frame) FROM frames_1 AS f",
        "SELECT * RENAME (frame AS g) FROM frames_1 AS f",
        "SELECT COLUMNS('a') FROM frames_1 AS f",
        "SELECT g.* FROM frames_1 AS f",
        "SELECT f FROM frames_1 AS f",
        "SELECT nothing FROM frames_1 AS f",
        "SELECT frame FROM other AS f",
        "SELECT 1",
        f"SELECT frame FROM frames_1 AS f WHERE {' OR '.join(['frame = 1'] * 60)}",
        "WITH a AS (SELECT 1) SELECT frame FROM frames_1 AS f",
    ],
)
def test_what_is_more_is_duckdbs(sql: str) -> None:
    assert read(sql) is None


def test_types_that_change_in_duckdb_are_duckdbs() -> None:
    for kind in (pa.large_string(), pa.float16(), pa.dictionary(pa.int32(), pa.string())):
        schema = pa.schema([("a", kind), ("b", pa.int64())])
        assert read("SELECT a FROM frames_1 AS f", schema) is None
        assert read("SELECT b FROM frames_1 AS f", schema) is not None


def test_what_sorts_otherwise_there_is_duckdbs() -> None:
    table = rows(0, 20, nan=True)
    plain = read("SELECT frame FROM frames_1 AS f ORDER BY seconds")
    assert plain is not None
    assert plain.answer(table, max_rows=20) is None


def test_limits_are_the_cages() -> None:
    plain = read("SELECT frame FROM frames_1 AS f")
    assert plain is not None
    assert plain.answer(rows(0, 5), max_rows=4) is None
    assert plain.answer(rows(0, MOST_ROWS + 1), max_rows=10**6) is None
