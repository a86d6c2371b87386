"""One DuckDB database: one writer at a time, any number of readers, each on its own cursor."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
import pyarrow as pa

from engine.errors import StoreError

SCHEMA_VERSION = "1"


class Database:
    """The catalog's connection; `writing` serialises everything that changes the store."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = duckdb.connect(str(path))
            self._connection.execute(files("schemas").joinpath("catalog.sql").read_text())
        except duckdb.Error as error:
            raise StoreError(f"cannot open the catalog {path}: {_line(error)}") from error
        self.writing = RLock()
        self._check_version(path)

    def _check_version(self, path: Path) -> None:
        found = self.one("SELECT value FROM settings WHERE name = 'schema'")
        if found is None:
            with self.transaction() as cursor:
                cursor.execute("INSERT INTO settings VALUES ('schema', ?)", [SCHEMA_VERSION])
        elif found[0] != SCHEMA_VERSION:
            self.close()
            raise StoreError(f"the catalog {path} has layout {found[0]}; allowed: {SCHEMA_VERSION}")

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give a connection of its own to the calling thread, closed afterwards."""
        try:
            cursor = self._connection.cursor()
        except duckdb.ConnectionException as error:
            raise StoreError("the data folder was closed; open it again") from error
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Give a connection inside a transaction: committed on leaving, undone on an error."""
        with self.writing, self.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except duckdb.Error as error:
                cursor.close()
                raise StoreError(f"the catalog refused a change: {_line(error)}") from error
            except BaseException:
                cursor.rollback()
                raise

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement."""
        with self.cursor() as cursor:
            return list(cursor.execute(sql, list(parameters)).fetchall())

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a statement, or None."""
        with self.cursor() as cursor:
            rows = cursor.execute(sql, list(parameters)).fetchall()
            return rows[0] if rows else None

    def table(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return all rows of a statement as an Arrow table."""
        with self.cursor() as cursor:
            return cursor.sql(sql, params=list(parameters)).to_arrow_table()

    def close(self) -> None:
        """Write the log into the database file and close it."""
        self._connection.close()


def now() -> datetime:
    """Return the time as the catalog writes it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def next_id(cursor: Any, sequence: str) -> int:
    """Draw the next number of a sequence; numbers are never given out again."""
    return int(cursor.execute(f"SELECT nextval('{sequence}')").fetchall()[0][0])


def insert(cursor: Any, table: str, values: Mapping[str, Any]) -> None:
    """Add one row, columns by name."""
    columns, marks = ", ".join(values), ", ".join("?" for _ in values)
    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", [*values.values()])


def update(
    cursor: Any, table: str, values: Mapping[str, Any], where: str, parameters: Sequence[Any]
) -> None:
    """Set columns by name in the rows that meet a condition."""
    changes = ", ".join(f"{column} = ?" for column in values)
    cursor.execute(f"UPDATE {table} SET {changes} WHERE {where}", [*values.values(), *parameters])


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
