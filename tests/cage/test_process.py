"""Workers: they start small, end with whatever started them, and are replaced."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from engine.cage.arena import Arena, read_result
from engine.cage.ending import Ending
from engine.cage.pool import Pool
from engine.cage.process import Ended, Limits, Process
from engine.cage.sandbox import Sandbox
from engine.errors import EngineError, LimitError, UsageError
from tests.waiting import LONG, until

ENDLESS = "SELECT sum(range) FROM range(1000000000000)"
LIMITS = Limits(memory=1 << 28, result=1 << 24, threads=1, seconds=30.0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def is_running(pid: int) -> bool:
    """Whether a process is there and no corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children() -> set[int]:
    """The numbers of our own processes that run DuckDB."""
    lists = Path("/proc/self/task").glob("*/children")  # of each thread
    pids = {int(pid) for mine in lists for pid in mine.read_text().split()}
    return {pid for pid in pids if b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@linux
def test_no_worker_is_left_where_the_parent_was_killed() -> None:
    code = (
        "import sys, time; from threading import Thread; from engine.cage.sandbox import Sandbox\n"
        "sandbox = Sandbox(); sandbox.run('SELECT 1', {}, max_rows=1)\n"
        f"Thread(target=lambda: sandbox.run({ENDLESS!r}, {{}}, max_rows=1), daemon=True).start()\n"
        "time.sleep(0.3); print(*sandbox.pids(), flush=True)\n"
        "time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        assert is_running(pid)
        other.kill()
    assert until(lambda: not is_running(pid))


@linux
def test_closing_ends_a_statement_and_leaves_no_worker() -> None:
    said: list[EngineError] = []
    sandbox = Sandbox()

    def ask() -> None:
        try:
            sandbox.run(ENDLESS, {}, max_rows=1)
        except EngineError as error:
            said.append(error)

    before = children()
    asking = Thread(target=ask)
    asking.start()
    assert until(lambda: bool(children() - before))
    mine = children() - before
    sandbox.close()
    asking.join(LONG)
    assert [str(error) for error in said] == ["the statement was ended: the engine was closed"]
    assert not any(map(is_running, mine))
    with pytest.raises(UsageError, match="the engine was closed"):
        sandbox.run("SELECT 1", {}, max_rows=1)


def test_a_statement_that_nobody_waits_for_is_ended_and_none_follows() -> None:
    ending = Ending()
    with Sandbox(workers=1) as one, ThreadPoolExecutor(1) as threads:
        one.run("SELECT 1", {}, max_rows=1)

        def work() -> tuple[str, ...]:
            said = []
            for sql in (ENDLESS, "SELECT 1"):
                with pytest.raises(LimitError) as caught:
                    one.run(sql, {}, max_rows=1)
                said.append(f"{caught.value.kind}: {caught.value}")
            return tuple(said)

        asked = threads.submit(ending.run, work)
        time.sleep(0.3)
        assert not asked.done()
        ending.end()
        assert set(asked.result(LONG)) == {"ended: the statement was ended: nobody waits for it"}
        # the thread's next work has nothing to do with it
        assert threads.submit(one.run, "SELECT 1", {}, max_rows=1).result(LONG).num_rows == 1


@linux
def test_a_sandbox_that_is_dropped_leaves_no_worker() -> None:
    before = children()
    sandbox = Sandbox()
    sandbox.run("SELECT 1", {}, max_rows=1)
    mine = children() - before
    assert len(mine) == 1
    del sandbox
    assert until(lambda: not any(map(is_running, mine)))


def test_a_worker_outlives_the_thread_that_started_it(sandbox: Sandbox) -> None:
    with Sandbox() as fresh:
        starter = Thread(target=lambda: fresh.run("SELECT 1", {}, max_rows=1))
        starter.start()
        starter.join()
        (process,) = fresh._pool._idle
        time.sleep(0.1)
        fresh.run("SELECT 1", {}, max_rows=1)
        assert fresh._pool._idle == [process]


def test_workers_are_bounded_and_shared_by_threads() -> None:
    tables = [pa.table({"a": range(n)}) for n in range(16)]
    with Sandbox(workers=2) as shared, ThreadPoolExecutor(8) as threads:
        sums = threads.map(
            lambda t: shared.run("SELECT count(*) AS n FROM t", {"t": t}, max_rows=1), tables
        )
        assert [found.to_pylist()[0]["n"] for found in sums] == list(range(16))
        assert len(shared._pool._idle) <= 2


def test_who_finds_no_free_worker_is_told() -> None:
    with (
        Sandbox(workers=1, seconds=0.2) as one,
        one._pool.lend(),
        pytest.raises(LimitError, match="all 1 SQL workers were busy"),
    ):
        one.run("SELECT 1", {}, max_rows=1)


@linux
def test_a_worker_that_was_killed_is_replaced() -> None:
    with Sandbox() as fresh:
        fresh.run("SELECT 1", {}, max_rows=1)
        (process,) = fresh._pool._idle
        os.kill(process.pid, signal.SIGKILL)
        assert until(lambda: not is_running(process.pid))
        assert fresh.run("SELECT 2 AS a", {}, max_rows=1).to_pylist() == [{"a": 2}]
        assert fresh._pool._idle != [process]


@linux
def test_a_warm_sandbox_has_a_worker_to_spare() -> None:
    with Sandbox() as fresh:
        fresh.warm()
        spare, first = fresh._pool._idle
        fresh.run("SELECT 1", {}, max_rows=1)
        assert fresh._pool._idle == [spare, first]
        first.kill()  # as an attack's deadline does
        fresh.run("SELECT 1", {}, max_rows=1)
        assert spare in fresh._pool._idle
        with fresh._pool.lend() as lent:
            assert lent is spare
            lent.kill()
        assert len(fresh._pool._idle) == 2


def test_an_idle_worker_ends_by_itself_and_costs_no_statement() -> None:
    resting = Process(LIMITS, idle_seconds=0.05)
    resting._process.wait(LONG)
    with pytest.raises(Ended) as ended:
        resting.ask("run", "SELECT 1", {}, 1)
    assert ended.value.kind == "rest"
    with Sandbox() as fresh:
        another = Process(LIMITS, idle_seconds=0.05)
        fresh._pool._idle.append(another)
        another._process.wait(LONG)
        assert fresh.run("SELECT 1 AS a", {}, max_rows=1).num_rows == 1


def test_a_first_worker_stays_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(LIMITS, 2)
    with pool.lend() as first, pool.lend() as second:
        for process, idle in ((first, b'"idle_seconds": null'), (second, b'"idle_seconds": 60')):
            assert idle in " ".join(process._process.args).encode()  # type: ignore[arg-type]
    pool.close()


@linux
def test_a_worker_is_small_and_knows_nothing_of_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEJAVU_API_KEYS", "write:secret")
    process = Process(LIMITS, idle_seconds=None)
    table, _ = process.ask("run", "SELECT 1 AS a", {}, 1)
    assert table is not None
    folder = Path(f"/proc/{process.pid}")
    assert b"secret" not in (folder / "environ").read_bytes()
    maps = (folder / "maps").read_text()
    assert "duckdb" in maps
    assert not [name for name in ("torch", "faiss", "site-packages/av") if name in maps]
    pages = int((folder / "statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 180 << 20
    opened = {os.readlink(link) for link in (folder / "fd").iterdir()}  # noqa: PTH115
    assert not [name for name in opened if name.startswith(str(Path.cwd()))]
    process.kill()


@linux
def test_relations_cannot_be_written_by_a_worker() -> None:
    arena = Arena()
    arena.lay_out({"t": pa.table({"a": [1]})})
    with pytest.raises(PermissionError):
        os.pwrite(arena.file, b"x", 0)
    arena.close()


def test_memory_for_a_large_relation_is_given_back() -> None:
    arena = Arena()
    arena.lay_out({"t": pa.table({"a": range(10)})})
    assert arena.capacity == 1 << 20
    places, renewed = arena.lay_out({"t": pa.table({"a": range(10)})})
    assert (places[0][:2], renewed) == (("t", 0), False)
    arena.lay_out({"t": pa.table({"a": pa.array([b"0" * (65 << 20)])})})
    arena.trim()
    assert arena.capacity == 0
    _, renewed = arena.lay_out({"t": pa.table({"a": range(10)})})
    assert renewed
    arena.close()


@linux
def test_a_result_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = os.memfd_create("result", os.MFD_ALLOW_SEALING)
    os.write(file, b"nonsense" * 100)
    with pytest.raises(pa.ArrowInvalid):
        read_result(file)
    os.close(file)
