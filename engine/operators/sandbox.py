"""A DuckDB that can reach nothing but the tables it is handed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer, current_thread, main_thread
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from engine.errors import BindError, ExecutionError

_BIND = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


class Sandbox:
    """An in-memory database without files, network, extensions or settings, for any thread."""

    def __init__(self, *, memory: str = "1GB", threads: int = 2, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._memory = memory
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": memory,
                "threads": str(threads),
                "temp_directory": "",
                "python_enable_replacements": "false",
                "allow_community_extensions": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        # last, since nothing can be set after it
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the database."""
        self._connection.close()

    def check(self, sql: str, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
        """Bind a statement against empty tables; return the columns it gives."""
        empty = {name: schema.empty_table() for name, schema in schemas.items()}
        with self._cursor(empty) as cursor:
            statements = cursor.extract_statements(sql)
            if [item.type for item in statements] != [duckdb.StatementType.SELECT]:
                raise BindError("only one SELECT is accepted")
            return cursor.sql(f"SELECT * FROM ({sql}) LIMIT 0").to_arrow_table().schema

    def run(self, sql: str, tables: Mapping[str, pa.Table], *, max_rows: int) -> pa.Table:
        """Run a statement; more than `max_rows` rows are an error, never cut off in silence."""
        with self._cursor(tables) as cursor:
            return _heard(cursor, lambda: _read(cursor, sql, max_rows))

    def filter(self, rows: pa.Table, predicates: Sequence[str]) -> pa.Table:
        """Keep the rows for which all predicates hold, in their order."""
        where = " AND ".join(f"({predicate})" for predicate in predicates)
        with self._cursor({"rows": rows}) as cursor:
            kept = cursor.sql(f"SELECT * FROM rows WHERE {where}").to_arrow_table()
        return kept.cast(rows.schema)

    @contextmanager
    def _cursor(self, tables: Mapping[str, pa.Table]) -> Iterator[Any]:
        """A connection that sees these tables alone, interrupted when its time is over."""
        cursor = self._connection.cursor()
        timer = Timer(self.seconds, cursor.interrupt)
        timer.daemon = True
        try:
            for name, table in tables.items():
                cursor.register(name, table)
            timer.start()
            yield cursor
        except duckdb.InterruptException as error:
            raise ExecutionError(
                f"the statement ran longer than {self.seconds:g} s", operator="sql"
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise ExecutionError(
                f"the statement needs more memory than {self._memory}", operator="sql"
            ) from error
        except _BIND as error:
            raise BindError(_reason(error)) from error
        except duckdb.Error as error:
            raise ExecutionError(_reason(error), operator="sql") from error
        finally:
            timer.cancel()
            cursor.close()


def _heard(cursor: Any, work: Callable[[], pa.Table]) -> pa.Table:
    """Let Ctrl-C end the work: the main thread hears nothing while DuckDB works in it."""
    if current_thread() is not main_thread():
        return work()
    with ThreadPoolExecutor(1) as other:
        table = other.submit(work)
        try:
            return table.result()
        except KeyboardInterrupt:
            cursor.interrupt()
            raise


def _read(cursor: Any, sql: str, max_rows: int) -> pa.Table:
    reader = cursor.sql(sql).to_arrow_reader(65_536)
    batches, count = [], 0
    for batch in reader:
        count += batch.num_rows
        if count > max_rows:
            raise ExecutionError(
                f"the answer has more than {max_rows} rows; add a LIMIT", operator="sql"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _reason(error: duckdb.Error) -> str:
    """DuckDB's own words without its prefix and without the lines that quote our rewritten SQL."""
    lines = [line.strip() for line in str(error).split("\n\nLINE ")[0].splitlines()]
    text = " ".join(line for line in lines if line).replace(" Error: ", ": ", 1)
    text = re.sub(r"^\w+( \w+)?: ", "", text)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]  # but LIMIT
