"""Run the user's SQL in a process that can reach only the tables it is handed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from engine.cage.ending import is_ended, under_ending
from engine.cage.pool import Pool
from engine.cage.process import Ended, Limits
from engine.closing import Closing
from engine.errors import BindError, DataError, ExecutionError, LimitError, ParseError, QueryError

_KINDS: Mapping[str, type[QueryError]] = {
    "BinderException": BindError,
    "CatalogException": BindError,
    "ParserException": ParseError,
    "SyntaxException": ParseError,
}
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_BINARY = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_NO_MEMORY = re.compile("[Ff]ailed to allocate|bad.alloc|Allocation failure|malloc of size")
_ROW = "__row"


class Sandbox(Closing):
    """A DuckDB without files, network, extensions or settings, for any thread.

    `memory` bounds what a statement holds and `result` its rows; `seconds` ends it. At most
    `workers` statements run at a time.
    """

    def __init__(
        self,
        *,
        memory: str = "1GB",
        threads: int = 2,
        seconds: float = 60.0,
        result: str = "256MB",
        workers: int = 4,
    ) -> None:
        self._memory, self._result = memory, result
        limits = Limits(to_bytes(memory), to_bytes(result), threads, seconds)
        self._pool = Pool(limits, workers)

    def warm(self) -> None:
        """Start a worker now rather than with the first statement."""
        self._pool.warm()

    def pids(self) -> list[int]:
        """Return the numbers of the processes, for who measures them."""
        return self._pool.pids

    def close(self) -> None:
        """End all statements and their processes."""
        self._pool.close()

    def check(self, sql: str, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
        """Bind a statement against empty tables; return the columns it gives."""
        empty = {name: schema.empty_table() for name, schema in schemas.items()}
        return self._ask("check", sql, empty, 0).schema

    def run(self, sql: str, tables: Mapping[str, pa.Table], *, max_rows: int) -> pa.Table:
        """Run a statement; more than `max_rows` rows are an error, never cut off in silence."""
        return self._ask("run", sql, tables, max_rows)

    def filter(self, rows: pa.Table, predicates: Sequence[str]) -> pa.Table:
        """Keep the rows for which all predicates hold, in their order."""
        where = " AND ".join(f"({predicate})" for predicate in predicates)
        # of the columns only those go over that the predicates may name, and row numbers come back
        text = where.lower()
        named = [name for name in rows.column_names if "*" in text or name.lower() in text]
        numbers = pa.array(np.arange(rows.num_rows, dtype=np.int32))
        asked = rows.select(named).append_column(_ROW, numbers)
        kept = self.run(
            f"SELECT {_ROW} FROM rows WHERE {where}", {"rows": asked}, max_rows=rows.num_rows
        )
        return rows if kept.num_rows == rows.num_rows else rows.take(kept.column(_ROW))

    def _ask(
        self, task: Literal["check", "run"], sql: str, tables: Mapping[str, pa.Table], rows: int
    ) -> pa.Table:
        _expect_text(sql)
        while True:
            if is_ended():
                raise self._stopped(Ended("rest"))
            try:
                with self._pool.lend() as process, under_ending(process):
                    table, reply = process.ask(task, sql, tables, rows)
                break
            except Ended as error:
                if error.kind == "rest" and not self._pool.is_closed:
                    continue  # it ended by itself just before it was asked
                raise self._stopped(error) from error
        if table is None:
            raise self._error(sql, reply["error"], rows)
        return table

    def _stopped(self, ended: Ended) -> QueryError | ExecutionError:
        if self._pool.is_closed or is_ended():
            why = "the engine was closed" if self._pool.is_closed else "nobody waits for it"
            return LimitError(f"the statement was ended: {why}", kind="ended")
        if ended.kind == "start":
            return ExecutionError(f"SQL's process does not start: {ended}", operator="sql")
        if ended.kind == "time":
            said = f"the statement ran longer than {self._pool.limits.seconds:g} s"
            return LimitError(said, kind="time")
        if ended.kind == "memory":
            return self._too_large()
        return LimitError(f"the statement crashed DuckDB ({ended})", kind="crash")

    def _too_large(self) -> LimitError:
        return LimitError(f"the statement needs more memory than {self._memory}", kind="memory")

    def _error(self, sql: str, error: Mapping[str, Any], rows: int) -> QueryError:
        match error["kind"]:
            case "rows":
                return LimitError(f"the answer has more than {rows} rows; add a LIMIT", kind="rows")
            case "bytes":
                return LimitError(f"the answer is larger than {self._result}", kind="bytes")
            case "memory" | "OutOfMemoryException":
                return self._too_large()
            case "InternalException" | "FatalException":
                said = f"the statement broke DuckDB: {_one_line(error['message'])}"
                return LimitError(said, kind="crash")
        if _NO_MEMORY.search(error["message"]):
            return self._too_large()
        kind = _KINDS.get(error["kind"], DataError)
        return kind(_one_line(error["message"]), sql=sql, position=error["position"])


def to_bytes(size: str) -> int:
    """Return what DuckDB's way of writing a size means.

    >>> to_bytes("1.5 GiB")
    1610612736
    """
    number, unit = re.fullmatch(r"([\d.]+)\s?(\w+)", size).groups()  # type: ignore[union-attr]
    return int(float(number) * (_UNITS | _BINARY)[unit.upper()])


def _expect_text(sql: str) -> None:
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        said = "the statement holds half of a surrogate pair, which is no text"
        raise ParseError(said, sql=sql, position=error.start) from error


def _one_line(message: str) -> str:
    """DuckDB's own words on one line, without advice on settings that are locked."""
    text = " ".join(line.strip() for line in message.splitlines() if line.strip())
    text = re.split(r"\.? (?:Use|Possible solutions|Please use).*?\bSET ", text)[0]
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]  # but LIMIT
