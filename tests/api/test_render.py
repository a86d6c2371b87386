"""Rows as JSON, CSV and Arrow: every type that a statement can give."""

import base64
import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from api.render import Form, form_of, plain, rendered

SAME = object()  # the text that JSON has
VALUES: list[tuple[str, Any, Any]] = [
    # of SQL, as JSON, as CSV
    ("TIMESTAMP '2024-01-02 03:04:05.678'", "2024-01-02T03:04:05.678000Z", SAME),
    ("TIMESTAMPTZ '2024-01-02 03:04:05+02'", "2024-01-02T01:04:05.000000Z", SAME),
    ("TIMESTAMP_NS '2024-01-02 03:04:05.123456789'", "2024-01-02T03:04:05.123456789Z", SAME),
    ("DATE '2024-01-02'", "2024-01-02", SAME),
    ("TIME '03:04:05'", "03:04:05.000000", SAME),
    ("'infinity'::TIMESTAMP", "infinity", SAME),
    ("'-infinity'::DATE", "-infinity", SAME),
    ("INTERVAL '1 month 2 days 3500 milliseconds'", "P1M2DT3.5S", SAME),
    ("INTERVAL '-3 seconds'", "P0M0DT-3S", SAME),
    ("'\\x00\\xFFa'::BLOB", base64.b64encode(b"\x00\xffa").decode(), "AP9h"),
    ("1.5", 1.5, "1.5"),
    ("12345678901234567890123.25::DECIMAL(38,2)", "12345678901234567890123.25", SAME),
    ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1, str(2**127 - 1)),
    ("'nan'::DOUBLE", None, "nan"),
    ("'-inf'::FLOAT", None, "-inf"),
    ("true", True, "true"),
    ("NULL", None, ""),
    ("''", "", ""),
    ("'a,\"b\nc'", 'a,"b\nc', 'a,"b\nc'),
    ("'a'::ENUM('a', 'b')", "a", "a"),
    ("MAP {'a': 1.5, 'b': NULL}", {"a": 1.5, "b": None}, '{"a": 1.5, "b": null}'),
    ("MAP {1: DATE '2024-01-02'}", {"1": "2024-01-02"}, '{"1": "2024-01-02"}'),
    ("{'x': 1, 'y': ['nan'::DOUBLE, 2]}", {"x": 1, "y": [None, 2]}, '{"x": 1, "y": [null, 2.0]}'),
    ("MAP {}", {}, "{}"),
    ("{'a': [MAP {}]}", {"a": [{}]}, '{"a": [{}]}'),
    ("row()", {}, "{}"),
    ("[NULL, NULL]", [None, None], "[null, null]"),
    ("[[1], NULL, []]", [[1], None, []], "[[1], null, []]"),
    ("[DATE '2024-01-02']", ["2024-01-02"], '["2024-01-02"]'),
    ("[1, 2]::INT[2]", [1, 2], "[1, 2]"),
    ("union_value(k := 1)", 1, "1"),
    (f"{10**50 + 7}", 10**50 + 7, str(10**50 + 7)),
    (f"-{10**50 + 7}", -(10**50) - 7, str(-(10**50) - 7)),
    ("0::BIGNUM", 0, "0"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "as_json", "as_csv"), VALUES, ids=[sql for sql, *_ in VALUES])
def test_every_kind_of_value_in_parquet(sql: str, as_json: Any, as_csv: Any) -> None:
    """Another reader gives back what the statement gave; text stands for what Parquet lacks."""
    del as_csv
    with duckdb.connect() as database:
        table = database.sql(f"SELECT {sql} AS v FROM range(3)").to_arrow_table()
        content = b"".join(rendered(table, "parquet", 0.5))
        found = pq.read_table(io.BytesIO(content))
        assert found.num_rows == 3
        if found.schema.field("v").type == table.schema.field("v").type:
            assert found.column("v").combine_chunks().equals(
                table.column("v").combine_chunks()
            ) or ("nan" in sql)
        else:
            texts = [as_json if isinstance(as_json, str) else json.dumps(as_json)] * 3
            assert found.column("v").to_pylist() == texts


@pytest.mark.parametrize(("sql", "as_json", "as_csv"), VALUES, ids=[sql for sql, *_ in VALUES])
def test_every_kind_of_value(sql: str, as_json: Any, as_csv: Any) -> None:
    with duckdb.connect() as database:
        table = database.sql(f"SELECT {sql} AS v FROM range(3)").to_arrow_table().slice(0, 2)
    rows = json.loads(b"".join(rendered(table, "json", 0.5)), parse_constant=pytest.fail)["rows"]
    lines = list(csv.reader(io.StringIO(b"".join(rendered(table, "csv", 0.5)).decode())))
    assert len(rows) == table.num_rows
    assert lines[0] == ["v"]
    assert rows[0]["v"] == as_json
    assert (lines[1] or [""])[0] == (as_json if as_csv is SAME else as_csv)


NUMBERS = st.one_of(st.none(), st.integers(-(2**40), 2**40))
NESTED = st.one_of(st.none(), st.lists(NUMBERS, max_size=4))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "l": NESTED,
            "s": st.one_of(st.none(), st.fixed_dictionaries({"a": NUMBERS, "b": NESTED})),
            "m": st.one_of(st.none(), st.dictionaries(st.text(max_size=3), NUMBERS, max_size=3)),
            "t": st.one_of(st.none(), st.text(max_size=5)),
        }
    ),
    max_size=30,
)
KIND = pa.schema(
    [
        ("l", pa.list_(pa.int64())),
        ("s", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))])),
        ("m", pa.map_(pa.string(), pa.int64())),
        ("t", pa.string()),
    ]
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 5), st.integers(1, 7))
def test_what_is_written_is_what_was_there(
    rows: list[dict[str, Any]], skipped: int, chunk: int
) -> None:
    pairs = [{**row, "m": None if row["m"] is None else list(row["m"].items())} for row in rows]
    table = pa.Table.from_pylist(pairs, KIND)
    pieces = [table.slice(at, chunk) for at in range(0, max(len(rows), 1), chunk)]
    sliced = pa.concat_tables(pieces).slice(skipped)
    found = json.loads(b"".join(rendered(sliced, "json", 0.0)))["rows"]
    assert found == rows[skipped:]
    again = pa.ipc.open_stream(b"".join(rendered(sliced, "arrow", 0.0))).read_all()
    assert again.equals(sliced)


def test_a_fixed_list_may_be_missing() -> None:
    column = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    assert plain(column) == [[1, 2], None, [3, 4]]
    assert plain(column[1:]) == [None, [3, 4]]


def test_no_rows_are_written_as_such() -> None:
    table = pa.table({"a": pa.array([], pa.int64())})
    assert json.loads(b"".join(rendered(table, "json", 0.0)))["rows"] == []
    assert b"".join(rendered(table, "csv", 0.0)).decode().split() == ['"a"']
    assert pa.ipc.open_stream(b"".join(rendered(table, "arrow", 0.0))).read_all() == table


def test_many_rows_come_in_parts() -> None:
    table = pa.table({"a": range(25_000)})
    for form in ("json", "csv", "arrow"):
        parts = list(rendered(table.combine_chunks(), form, 0.0))  # type: ignore[arg-type]
        assert max(map(len, parts)) < 300_000
    rows = json.loads(b"".join(rendered(table, "json", 0.0)))["rows"]
    assert [row["a"] for row in rows] == list(range(25_000))


@pytest.mark.parametrize("form", ["json", "csv", "arrow"])
def test_wide_rows_and_long_texts_come_in_small_parts_too(form: Form) -> None:
    wide = pa.table({f"c{i}": range(2000) for i in range(400)})
    long = pa.table({"t": ["x" * 50_000] * 200})
    for table in (wide, long):
        parts = list(rendered(table, form, 0.0))
        assert max(map(len, parts)) < 2_200_000
        assert len(parts) > 5
    assert b"".join(rendered(long, form, 0.0)).count(b"x" * 50_000) == 200


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "json"), ("text/csv", "csv"), ("text/csv;q=0.9, */*", "csv"),
        ("application/vnd.apache.arrow.stream", "arrow"),
    ],
)  # fmt: skip
def test_the_form_that_is_accepted(accept: str, form: str) -> None:
    assert form_of(accept) == form


def test_times_of_the_store_have_their_zone(client: TestClient) -> None:
    body = {"sql": "SELECT ingested_at FROM videos LIMIT 1"}
    (row,) = client.post("/sql", json=body).json()["rows"]
    assert datetime.fromisoformat(row["ingested_at"]).tzinfo == UTC


def test_caution_is_beside_the_rows() -> None:
    table = pa.table({"a": [1]})
    assert json.loads(b"".join(rendered(table, "json", 0.0)))["caution"] is None
    told = table.replace_schema_metadata({"dejavu.caution": "know this"})
    assert json.loads(b"".join(rendered(told, "json", 0.0)))["caution"] == "know this"
    again = pa.ipc.open_stream(b"".join(rendered(told, "arrow", 0.0))).read_all()
    assert again.schema.metadata == {b"dejavu.caution": b"know this"}


def test_parquet_comes_in_groups_and_whole() -> None:
    with duckdb.connect() as database:
        table = database.sql("SELECT range AS n, 'row ' || range AS t FROM range(250000)")
        arrow = table.to_arrow_table()
    parts = list(rendered(arrow, "parquet", 0.5))
    assert len(parts) == 4  # three groups, and the footer
    found = pq.read_table(io.BytesIO(b"".join(parts)))
    assert found.equals(arrow.cast(found.schema))
    empty = b"".join(rendered(arrow.slice(0, 0), "parquet", 0.5))
    assert pq.read_table(io.BytesIO(empty)).schema.names == ["n", "t"]


def test_lines_hold_what_json_does() -> None:
    with duckdb.connect() as database:
        table = database.sql("SELECT range AS n, 'row ' || range AS t FROM range(2500)")
        arrow = table.to_arrow_table()
    lines = [json.loads(line) for line in b"".join(rendered(arrow, "lines", 0.5)).splitlines()]
    whole = json.loads(b"".join(rendered(arrow, "json", 0.5)))
    assert lines[0] == {"columns": whole["columns"], "num_rows": 2500}
    assert lines[-1] == {"timing": whole["timing"], "caution": whole["caution"]}
    assert max(len(each["rows"]) for each in lines[1:-1]) <= 1000
    assert [row for each in lines[1:-1] for row in each["rows"]] == whole["rows"]
    empty = b"".join(rendered(arrow.slice(0, 0), "lines", 0.5)).splitlines()
    assert len(empty) == 2
