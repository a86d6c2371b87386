"""Conditions that would fail on a row that the statement never compares stay where they are."""

from collections.abc import Iterator
from itertools import product

import duckdb
import pyarrow as pa
import pytest
from sqlglot import parse_one

from engine.planner.kinds import cannot_fail
from schemas.tables import VIDEOS

ROW = {
    "video_id": 1, "name": "v1.mp4", "path": "/v1.mp4", "duration_seconds": 2.5, "fps": 25.0,
    "width": 2**31 - 1, "height": 48, "num_frames": 60, "ingested_at": "2024-05-06 07:08:09",
    "status": "ready",
}  # fmt: skip
OPERANDS = (
    "name", "video_id", "duration_seconds", "width", "ingested_at", "error", "NULL", "3", "2.5",
    "'v1.mp4'", "'7'", "'2.5'", "'2024-01-02'", "'true'", "true", "DATE '2024-01-02'",
    "CAST(name AS INT)", "CAST('x' AS INT)", "TRY_CAST(name AS INT)", "name || '1'", "length(name)",
    "sqrt(video_id - 2)", "width * 2", "duration_seconds * 2", "coalesce(error, '1')",
    "CASE WHEN width > 1 THEN 'a' ELSE name END", "CAST(video_id AS DOUBLE)",
)  # fmt: skip


@pytest.fixture(scope="module")
def stock() -> Iterator[duckdb.DuckDBPyConnection]:
    """A stock DuckDB with one video."""
    values = ", ".join(
        f"{'NULL' if ROW.get(name) is None else repr(ROW[name])}::{_written(kind)} AS {name}"
        for name, kind in zip(VIDEOS.names, VIDEOS.types, strict=True)
    )
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute(f"CREATE TABLE videos AS SELECT {values}")
        yield connection


def _fails(stock: duckdb.DuckDBPyConnection, condition: str) -> str:
    """What it says of a condition over the row: nothing, or why it fails."""
    try:
        stock.execute(f"SELECT * FROM videos WHERE {condition}").fetchall()
    except duckdb.BinderException:
        return ""  # no statement at all
    except duckdb.Error as error:
        return str(error)
    return ""


def _written(kind: pa.DataType) -> str:
    names = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int32(): "INTEGER"}
    return names.get(kind, "BIGINT" if kind == pa.int64() else "TIMESTAMP")


def _type_of(name: str) -> pa.DataType | None:
    return VIDEOS.field(name).type if name in VIDEOS.names else None


def test_what_cannot_fail_does_not(stock: duckdb.DuckDBPyConnection) -> None:
    pushed = 0
    for left, sign, right in product(OPERANDS, ("=", "<"), OPERANDS):
        condition = f"{left} {sign} {right}"
        if cannot_fail(parse_one(condition, dialect="duckdb"), _type_of):
            pushed += 1
            assert not _fails(stock, condition), condition
    assert pushed > 300


@pytest.mark.parametrize(
    "condition",
    [
        "name = 'v1.mp4'", "duration_seconds > 3", "video_id IN (1, 2)", "video_id = '7'",
        "ingested_at > '2024-01-02'", "ingested_at >= TIMESTAMP '2024-01-02 03:04:05'",
        "width BETWEEN 1 AND 2.5", "name LIKE 'v%' OR lower(name) = 'x'", "error IS NULL",
        "duration_seconds * 2 < 5 + 1", "coalesce(error, 'none') = 'none'", "video_id % 2 = 0",
        "floor(duration_seconds / 2) = 1", "CAST(duration_seconds AS INT) = 3",
    ],
)  # fmt: skip
def test_what_analysts_write_is_pushed(stock: duckdb.DuckDBPyConnection, condition: str) -> None:
    assert cannot_fail(parse_one(condition, dialect="duckdb"), _type_of)
    assert not _fails(stock, condition)


@pytest.mark.parametrize(
    "condition",
    [
        "duration_seconds > 'v1.mp4'", "name = 3", "video_id IN (1, 'x')", "name IN (1, 2)",
        "width BETWEEN 'a' AND 3", "CAST(name AS INT) > 1", "sqrt(video_id - 2) > 0",
        "width * 2 > 1", "coalesce(name, 1) = 1",
    ],
)  # fmt: skip
def test_what_fails_on_a_row_is_not(condition: str) -> None:
    assert not cannot_fail(parse_one(condition, dialect="duckdb"), _type_of)
