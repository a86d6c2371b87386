"""The Arrow schemas and the DuckDB tables are the same."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from schemas import tables


@pytest.fixture
def catalog() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute(files("schemas").joinpath("catalog.sql").read_text())
    yield connection
    connection.close()


def relations(catalog: Any, kind: str) -> set[str]:
    sql = "SELECT table_name FROM information_schema.tables WHERE table_type = ?"
    return {row[0] for row in catalog.execute(sql, [kind]).fetchall()}


def test_every_relation_has_a_schema(catalog: Any) -> None:
    assert relations(catalog, "BASE TABLE") | relations(catalog, "VIEW") == set(tables.CATALOG)


@pytest.mark.parametrize("name", sorted(tables.CATALOG))
def test_names_and_types_are_equal(catalog: Any, name: str) -> None:
    stored = catalog.sql(f"SELECT * FROM {name}").to_arrow_table().schema
    assert [(f.name, f.type) for f in stored] == [(f.name, f.type) for f in tables.CATALOG[name]]


def test_what_may_be_null_is_equal(catalog: Any) -> None:
    for name in relations(catalog, "BASE TABLE"):
        rows = catalog.execute(
            "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_name = ?",
            [name],
        ).fetchall()
        assert dict(rows) == {field.name: field.nullable for field in tables.CATALOG[name]}


def test_running_the_ddl_again_changes_nothing(catalog: Any) -> None:
    catalog.execute("INSERT INTO settings VALUES ('space', 'x')")
    catalog.execute(files("schemas").joinpath("catalog.sql").read_text())
    assert catalog.execute("SELECT * FROM settings").fetchall() == [("space", "x")]


def test_frames_are_those_of_the_current_space(catalog: Any) -> None:
    row = "NULL, 0, 1, 2, 0.5, 'I', 'dense', 0, NULL, true, 1, 1"
    for space_id, key in ((1, "one"), (2, "two")):
        catalog.execute(
            f"INSERT INTO spaces VALUES ({space_id}, '{key}', '', '', '', '', '{{}}', 4, now())"
        )
        catalog.execute(
            f"INSERT INTO stored_frames VALUES ({row.replace('NULL', str(space_id), 1)})"
        )
    assert catalog.execute("SELECT count(*) FROM frames").fetchall() == [(0,)]
    catalog.execute("INSERT INTO settings VALUES ('space', 'two')")
    assert catalog.execute("SELECT count(*) FROM frames").fetchall() == [(1,)]


def test_a_part_holds_float16_vectors_of_one_length() -> None:
    kind = tables.embeddings(3).field("embedding").type
    assert kind == pa.binary(6)
    assert set(tables.FRAMES.names) - {"at"} <= set(tables.embeddings(3).names)
