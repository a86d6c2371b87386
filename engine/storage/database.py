"""One DuckDB database: one writer at a time, any number of readers, each on its own cursor."""

import hashlib
import logging
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from threading import Lock, RLock
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import uuid4
from weakref import WeakSet

import duckdb
import pyarrow as pa

from engine.errors import StoreError
from engine.storage.log_length import HEADER_BYTES, LogLength, note_length
from engine.storage.migrations import SCHEMA_VERSION, migrate

_log = logging.getLogger(__name__)
T = TypeVar("T")
REPAIR = "dejavu-engine store repair takes in what is left"
_COPY_BYTES = 1 << 22
_PATIENCE_SECONDS = 2.0  # for readers whose statements keep a checkpoint waiting


# what DuckDB raises where a file is damaged, beside plain Error for a wrong checksum
_DAMAGE = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException)


class BusyError(StoreError):
    """Something must wait until no other thread reads."""


class FormatError(StoreError):
    """A catalog that another version of the program has written, and only it can read."""


class Late:
    """Rows of the moment when this was made, read when somebody first asks for them."""

    def __init__(self, database: "Database", sql: str) -> None:
        self._database, self._sql = database, sql
        self._rows: pa.Table | None = None
        database.late.add(self)

    def read(self) -> pa.Table:
        """Return the rows; who is about to take any of them away has them read first."""
        if self._rows is None:
            with self._database.writing:
                if self._rows is None:  # nobody did meanwhile
                    self._rows = self._database.table(self._sql)
                self._database.late.discard(self)
        return self._rows


class Database:
    """The catalog's connection; `writing` serialises everything that changes the store.

    A published copy is opened `read_only`: beside a writing process, and on a read-only disk.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.writing = RLock()
        self._opening = Lock()
        self._num_cursors = 0
        self._file: int | None = None
        self.changes = 0  # transactions that were committed
        self.shown = 0  # those that changed what searches see of videos and rows
        self.late = WeakSet[Late]()  # what has not been read
        self.entered: dict[int, Any] = {}  # of videos just entered, while nothing else was said
        self._adder: Any = None
        self._known: dict[Hashable, Any] = {}
        self._kept: dict[str, tuple[tuple[Path, int], Any]] = {}
        self.lost: str | None = None  # what is known, or feared, to be gone from it
        noted = LogLength.read(path)
        if missing := noted.missing():
            self.lost = f"the log of {path} is {missing} bytes short: the last changes are lost"
        try:
            self._connection = duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            raise StoreError(f"cannot open the catalog {path}: {_line(error)}; {REPAIR}") from error
        if not read_only:
            # closed last: closing any descriptor of a file frees DuckDB's lock on it
            self._file = os.open(path, os.O_RDONLY)
        try:
            self._reach_format()
            if not read_only:
                self.lost = self.lost or noted.damage(expected=self.notes_its_length())
                self._begin_to_note()
        except BaseException:
            self.close()
            raise
        if self.lost and not read_only:
            _log.warning("%s", self.lost)

    def _reach_format(self) -> None:
        try:
            found = self._format()
            if not self.read_only:
                found = self._update_format(found)
        except duckdb.Error as error:
            text = f"cannot open the catalog {self.path}: {_line(error)}; {REPAIR}"
            raise StoreError(text) from error
        if found != SCHEMA_VERSION:
            allowed = f"allowed: {SCHEMA_VERSION}"
            if self.read_only:
                allowed += "; a command that may write brings it there"
            raise FormatError(f"the catalog {self.path} has layout {found}; {allowed}")
        if not self.read_only and self.identity() is None:
            with self.transaction() as cursor:
                cursor.execute("INSERT INTO settings VALUES ('store', ?)", [uuid4().hex])

    def identity(self) -> str | None:
        """Return what this store and its backups have and no other; None of an earlier version."""
        found = self.one("SELECT value FROM settings WHERE name = 'store'")
        return None if found is None else str(found[0])

    def notes_its_length(self) -> bool:
        """Whether there has to be a record of the log's length beside it."""
        return self.one("SELECT 1 FROM settings WHERE name = 'log_length'") is not None

    def _begin_to_note(self) -> None:
        """Take the log as it is from now on; the record is there before the catalog says so."""
        self._note_length()
        if not self.notes_its_length():
            with self.transaction() as cursor:
                cursor.execute("INSERT INTO settings VALUES ('log_length', 'noted')")

    def _format(self) -> str | None:
        tables = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'settings'"
        if not self.all(tables):
            return None
        found = self.one("SELECT value FROM settings WHERE name = 'schema'")
        return None if found is None else str(found[0])

    def _update_format(self, found: str | None) -> str:
        if found == SCHEMA_VERSION:
            return found
        if found is not None:
            self.checkpoint()  # so that the copy of the file is all there is
        with self.transaction() as cursor:
            if found is not None:
                found = migrate(cursor, found, before=self._keep_former)
            if found in (None, SCHEMA_VERSION):
                cursor.execute(files("schemas").joinpath("catalog.sql").read_text())
            if found is None:
                found = SCHEMA_VERSION
                cursor.execute("INSERT INTO settings VALUES ('schema', ?)", [found])
        return found

    def _keep_former(self) -> None:
        """Keep the catalog as it was before it is brought to another format."""
        former = self.path.with_name(f"{self.path.name}.former")
        if not former.exists():
            self._copy(former)

    def checkpoint(self) -> None:
        """Write what the log holds into the database file; the log may be lost from then on.

        Raises BusyError where other threads read all the while.
        """
        give_up = monotonic() + _PATIENCE_SECONDS
        with self.writing, self.cursor() as cursor:
            while True:
                try:
                    cursor.execute("CHECKPOINT")
                    return
                except duckdb.TransactionException as error:
                    if monotonic() > give_up:
                        raise BusyError(f"cannot checkpoint the catalog: {_line(error)}") from error
                    sleep(0.01)
                except duckdb.Error as error:
                    raise StoreError(f"cannot checkpoint the catalog: {_line(error)}") from error

    def read_everything(self) -> None:
        """Read every block that a table has; raises StoreError where one is damaged."""
        try:
            for (name,) in self.all("SELECT table_name FROM duckdb_tables()"):
                self.all(f'SELECT bit_xor(hash(t)) FROM "{name}" t')
        except duckdb.Error as error:
            raise StoreError(f"the catalog {self.path} is damaged: {_line(error)}") from error

    def copy(self, path: Path) -> str:
        """Write the database file as it is after a checkpoint; return the SHA-256 of the copy."""
        with self.writing:
            self.checkpoint()
            return self._copy(path)

    def _copy(self, path: Path) -> str:
        assert self._file is not None
        digest, offset = hashlib.sha256(), 0
        with path.open("wb") as target:
            while block := os.pread(self._file, _COPY_BYTES, offset):
                target.write(block)
                digest.update(block)
                offset += len(block)
        return digest.hexdigest()

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Give a connection of its own to the calling thread, closed afterwards."""
        with self._opening:
            cursor = self._connect()
            self._num_cursors += 1
        try:
            yield cursor
        finally:
            cursor.close()
            with self._opening:
                self._num_cursors -= 1

    def _connect(self) -> Any:
        try:
            return self._connection.cursor()
        except duckdb.ConnectionException as error:
            raise StoreError("the data folder was closed; open it again") from error

    @contextmanager
    def transaction(self, *, shown: bool = True, adds: bool = False) -> Iterator[Any]:
        """Give a connection inside a transaction: committed on leaving, undone on an error.

        What is not `shown` changes nothing of videos and rows, as jobs and measurements do. What
        only `adds` leaves true what is known of videos just entered, and has nothing to optimise.
        """
        with self.writing, self._adding() if adds else self.cursor() as cursor:
            if self.read_only:
                raise StoreError("the store was opened for reading; another process may write it")
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
                self.changes += 1
                self.shown += shown
                if shown and not adds:
                    self.entered.clear()
                self._note_length()
            except duckdb.Error as error:
                cursor.close()
                raise StoreError(f"the catalog refused a change: {_line(error)}") from error
            except BaseException:
                cursor.rollback()
                raise

    @contextmanager
    def _adding(self) -> Iterator[Any]:
        """Give the connection that only adds: without an optimizer, a small insert takes half."""
        with self._opening:
            if self._adder is None:
                self._adder = self._connect()
                self._adder.execute("PRAGMA disable_optimizer")
            self._num_cursors += 1
        try:
            yield self._adder
        except BaseException:
            self._adder.close()
            self._adder = None
            raise
        finally:
            with self._opening:
                self._num_cursors -= 1

    def _note_length(self) -> None:
        assert self._file is not None
        with suppress(OSError):  # a full disk: then a log that is cut is not noticed
            note_length(self.path, os.pread(self._file, HEADER_BYTES, 0))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if type(error) is not duckdb.Error and not isinstance(error, _DAMAGE):
                raise
            text = f"the catalog {self.path} cannot be read: {_line(error)}; {REPAIR}"
            raise StoreError(text) from error

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement."""
        with self.cursor() as cursor, self._readable():
            return list(cursor.execute(sql, list(parameters)).fetchall())

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a statement, or None."""
        with self.cursor() as cursor, self._readable():
            rows = cursor.execute(sql, list(parameters)).fetchall()
            return rows[0] if rows else None

    def table(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return all rows of a statement as an Arrow table."""
        with self.cursor() as cursor, self._readable():
            return cursor.sql(sql, params=list(parameters)).to_arrow_table()

    def kept(self, name: str, read: Callable[[], T]) -> T:
        """Return what is read of videos and rows, read anew only where these have changed."""
        state = (self.path, self.shown)
        found = self._kept.get(name)
        if found is None or found[0] != state:
            self._kept[name] = found = (state, read())
        value: T = found[1]
        return value

    def read_late(self) -> None:
        """Read what statements may ask for yet; to be called, while writing, before it goes."""
        for late in list(self.late):
            late.read()

    def known_for_good(self, question: Hashable, read: Callable[[], T]) -> T:
        """Return what is read once: no commit changes it."""
        if question not in self._known:
            self._known[question] = read()
        value: T = self._known[question]
        return value

    def move_to(self, path: Path) -> None:
        """Read another copy from now on; statements that run end on the former one."""
        assert self.read_only
        other = Database(path, read_only=True)
        with self.writing:
            self.read_late()
            self.path, self._connection = path, other._connection

    def renew(self) -> bool:
        """Close the file and open it again, unless somebody reads just now; return whether.

        DuckDB keeps some memory of each change and each checkpoint, and gives it back only then.
        """
        assert not self.read_only
        with self.writing, self._opening:
            if self._num_cursors:
                return False
            if self._adder is not None:
                self._adder.close()
                self._adder = None
            self._connection.close()
            try:
                self._connection = duckdb.connect(str(self.path))
            except duckdb.Error as error:
                text = f"cannot open the catalog {self.path} again: {_line(error)}; {REPAIR}"
                raise StoreError(text) from error
            self._note_length()
            return True

    def close(self) -> None:
        """Write the log into the database file and close it."""
        if self._adder is not None:
            self._adder.close()
        self._connection.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None


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
) -> int:
    """Set columns by name in the rows that meet a condition; return how many these are."""
    changes = ", ".join(f"{column} = ?" for column in values)
    sql = f"UPDATE {table} SET {changes} WHERE {where}"
    return int(cursor.execute(sql, [*values.values(), *parameters]).fetchall()[0][0])


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
