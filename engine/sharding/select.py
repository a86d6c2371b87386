"""Rows of all shards as one answer: each runs the statement, and what they return is merged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import duckdb
import pyarrow as pa

from engine.calls import ARROW
from engine.errors import ExecutionError, LimitError, NotFoundError, StoreError
from engine.rows import CAUTION, Completeness, SqlResult, caution_of
from engine.sharding.shards import Shard, Shards
from engine.sharding.statement import Spread, spread

SNAPSHOT = "dejavu.snapshot"


def select(
    shards: Shards,
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    options: Mapping[str, Any],
    key: str | None,
    *,
    max_rows: int,
) -> tuple[SqlResult, dict[Shard, str]]:
    """Run a statement on every shard; the rows come with the moment of each store.

    Rows have no place to say that some are lacking, so that a shard that is lost is an error.
    """
    started = perf_counter()
    read = spread(sql, params)

    def run(shard: Shard) -> pa.Table:
        told = {"sql": read.sql_of(shard.place), "params": read.params, "options": options}
        calls = shards.calls(shard, key)
        try:
            with calls.open("POST", "/shard/sql", told, accept=ARROW) as response:
                return pa.ipc.open_stream(response.read()).read_all()
        except NotFoundError as error:
            if "none of this API's endpoints" in str(error):
                raise StoreError("its version cannot be asked as a shard") from error
            raise
        except pa.ArrowException as error:
            raise ExecutionError("what it answered broke off") from error

    found = shards.each(shards.all, run)
    told = {shard: _told(table) for shard, table in found.items()}
    spaces = {facts["space"] for facts in told.values()}
    if len(spaces) > 1:
        raise StoreError(f"shards are of different models: {', '.join(sorted(spaces))}")
    table = merged(read, list(found.values()))
    if table.num_rows > max_rows:
        said = f"{table.num_rows:,} rows of all shards; allowed: {max_rows:,}"
        raise LimitError(said, kind="rows", sql=sql)
    coverage = _together([_coverage(each) for each in found.values()])
    cautions = [caution for each in found.values() if (caution := caution_of(each))]
    metadata = {"dejavu.coverage": json.dumps(asdict(coverage))}
    if cautions:
        metadata[CAUTION] = "; ".join(dict.fromkeys(cautions))
    table = table.replace_schema_metadata(metadata)
    result = SqlResult(table, "", None, perf_counter() - started, coverage)
    return result, {shard: facts["name"] for shard, facts in told.items()}


def merged(read: Spread, tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all shards in the order of the statement, of equal ones by shard."""
    rows = pa.concat_tables(
        [table.replace_schema_metadata(None) for table in tables], promote_options="permissive"
    )
    names = [name for name in rows.column_names if name not in {key.column for key in read.keys}]
    if read.keys:
        rows = rows.append_column("_shard_row", pa.array(range(len(rows)), pa.int64()))
        order = ", ".join(
            f'"{key.column}" {"DESC" if key.descending else "ASC"}'
            f" NULLS {'FIRST' if key.nulls_first else 'LAST'}"
            for key in read.keys
        )
        with duckdb.connect() as database:
            database.register("rows", rows)
            found = database.sql(f"SELECT _shard_row FROM rows ORDER BY {order}, _shard_row")
            rows = rows.take(found.to_arrow_table().column(0))
    stop = None if read.limit is None else read.offset + read.limit
    return rows.select(names)[read.offset : stop]


def _told(table: pa.Table) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(table.schema.metadata[SNAPSHOT.encode()])
    return found


def _coverage(table: pa.Table) -> Completeness:
    return Completeness(**json.loads(table.schema.metadata[b"dejavu.coverage"]))


def _together(parts: Sequence[Completeness]) -> Completeness:
    return Completeness(
        complete=all(part.complete for part in parts),
        exact=all(part.exact for part in parts),
        embedded=sum(part.embedded for part in parts),
        refined=sum(part.refined for part in parts),
        inexact=sum(part.inexact for part in parts),
        missing_seconds=sum(part.missing_seconds for part in parts),
        budget=any(part.budget for part in parts),
    )
