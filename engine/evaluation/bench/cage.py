"""What it costs that a statement computes in a process of its own, beside DuckDB in this one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import duckdb
import numpy as np
import pyarrow as pa

from engine.cage.sandbox import Sandbox
from engine.cage.worker import BATCH_ROWS, connect
from engine.evaluation.report import Cell, Report

SIZES = (0, 1_000, 100_000, 1_000_000)
STATEMENTS = {
    "count": "SELECT count(*) FROM t",
    "top 10 by group": "SELECT video_id, max(seconds) s FROM t GROUP BY 1 ORDER BY s DESC LIMIT 10",
    "all rows": "SELECT * FROM t",
}


def run(*, sizes: Sequence[int] = SIZES, rounds: int = 15) -> Report:
    """Check and run each statement over each size both ways, in turns; medians."""
    with Sandbox(result="1GB") as sandbox, connect(memory="1GB") as database:
        database.execute("SET threads = 2")  # as the sandbox has
        started = perf_counter()
        sandbox.run("SELECT 1", {}, max_rows=1)
        start = perf_counter() - started
        worker = sandbox.pids()[0]
        resident, private = _memory(worker)
        rows: list[list[Cell]] = [
            [size, name, *_compare(sandbox, database, frames(size), sql, worker, rounds)]
            for size in sizes
            for name, sql in STATEMENTS.items()
        ]
    notes = (
        f"a worker starts in {start:.2f} s and holds {resident >> 20} MiB at rest, "
        f"{private >> 20} MiB of them its own",
        "costs are the medians of pairs; processor time is of all processes, and a machine "
        "with other work adds waiting to the wall's",
    )
    columns = (
        "rows", "statement", "here ms", "cage ms", "cost ms", "cost, processor ms",
    )  # fmt: skip
    return Report(f"SQL in a cage, medians of {rounds}", columns, rows, notes)


def frames(count: int) -> pa.Table:
    """Rows like those of `frames`: 25 bytes each."""
    numbers = np.arange(count)
    return pa.table(
        {
            "video_id": numbers // 1000,
            "frame": numbers.astype(np.int32),
            "seconds": numbers / 2,
            "picture": pa.array(["I", "P"] * (count // 2), pa.string()),
        }
    )


def _compare(
    sandbox: Sandbox,
    database: duckdb.DuckDBPyConnection,
    table: pa.Table,
    sql: str,
    worker: int,
    rounds: int,
) -> list[float]:
    def here() -> None:
        with database.cursor() as cursor:
            cursor.register("t", table.schema.empty_table())
            cursor.sql(f"SELECT * FROM ({sql}) LIMIT 0").to_arrow_table()
        with database.cursor() as cursor:
            cursor.register("t", table)
            cursor.sql(sql).to_arrow_reader(BATCH_ROWS).read_all()

    def there() -> None:
        sandbox.check(sql, {"t": table.schema})
        sandbox.run(sql, {"t": table}, max_rows=max(1, table.num_rows))

    pairs = [(_time(here, worker), _time(there, worker)) for _ in range(rounds)]
    walls = [1e3 * median(pair[way][0] for pair in pairs) for way in (0, 1)]
    costs = [1e3 * median(pair[1][kind] - pair[0][kind] for pair in pairs) for kind in (0, 1)]
    return [*walls, *costs]


def _time(work: Callable[[], None], worker: int) -> tuple[float, float]:
    begun, used = perf_counter(), _processor_seconds(worker)
    work()
    return perf_counter() - begun, _processor_seconds(worker) - used


def _processor_seconds(pid: int) -> float:
    """Of this process and a worker, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return process_time() + sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _memory(pid: int) -> tuple[int, int]:
    _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    return resident * 4096, (resident - shared) * 4096
