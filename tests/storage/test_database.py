"""The catalog's file is closed and opened again while others read and write."""

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from engine.errors import StoreError
from engine.storage import store as store_module
from engine.storage.database import Database
from engine.storage.store import Store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A catalog that nothing is in."""
    made = Database(tmp_path / "catalog.duckdb")
    yield made
    made.close()


def put(database: Database, name: str) -> None:
    """Commit a row."""
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO settings VALUES (?, 'x')", [name])


def test_what_was_committed_is_there_afterwards(database: Database) -> None:
    put(database, "before")
    with database.cursor() as cursor:
        assert not database.renew()  # somebody reads
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    assert database.renew()
    put(database, "after")
    found = database.all("SELECT name FROM settings WHERE value = 'x' ORDER BY name")
    assert found == [("after",), ("before",)]
    database.checkpoint()
    with pytest.raises(duckdb.Error, match="lock"):  # no other process may open it
        _open_elsewhere(database.path)


def _open_elsewhere(path: Path) -> None:
    told = [sys.executable, "-c", f"import duckdb; duckdb.connect({str(path)!r})"]
    ran = subprocess.run(told, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise duckdb.IOException(ran.stderr.strip().splitlines()[-1])


def test_others_read_and_write_meanwhile(database: Database) -> None:
    ended, faults, counted = threading.Event(), list[Exception](), list[int]()

    def read() -> None:
        last = 0
        while not ended.is_set():
            try:
                ((count,),) = database.all("SELECT count(*) FROM settings WHERE value = 'x'")
            except (StoreError, duckdb.Error) as error:
                faults.append(error)
                return
            assert count >= last
            last = count
            counted.append(count)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    renewed = 0
    for number in range(40):
        put(database, str(number))
        renewed += database.renew()
    ended.set()
    for thread in threads:
        thread.join()
    while not database.renew():
        pass
    assert faults == []
    assert counted
    assert database.one("SELECT count(*) FROM settings WHERE value = 'x'") == (40,)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="malloc tells nothing")
def test_memory_comes_back(database: Database) -> None:
    for number in range(150):
        put(database, str(number))
        database.checkpoint()
    held = allocated()
    assert database.renew()
    assert database.one("SELECT count(*) FROM settings WHERE value = 'x'") == (150,)
    assert allocated() < held - (1 << 19)


def allocated() -> int:
    """Bytes that malloc has given out, by its own account."""

    class Info(ctypes.Structure):
        _fields_ = [(f"field_{number}", ctypes.c_size_t) for number in range(10)]

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Info
    told = ask()
    return int(told.field_4 + told.field_7)  # mapped apart, and in use


def test_a_store_does_so_after_many_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_RENEW_CHANGES", 5)
    with Store.open(tmp_path / "store") as store:
        began = store._database._connection
        jobs = [store.catalog.add_job("ingest", {}) for _ in range(4)]
        store.settle()
        assert store._database._connection is began
        jobs += [store.catalog.add_job("ingest", {}) for _ in range(4)]
        store.settle()
        assert store._database._connection is not began
        assert {job.job_id for job in store.catalog.jobs()} == set(jobs)
    with Store.open(tmp_path / "store") as store:
        assert {job.job_id for job in store.catalog.jobs()} == set(jobs)
        assert store._database.lost is None
