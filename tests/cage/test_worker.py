"""What a worker's process cannot do, whatever runs in it."""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import duckdb
import pytest

from engine.cage.process import Limits, Process
from engine.cage.sandbox import Sandbox
from engine.cage.worker import connect, describe, lock, receive, send

SHUT_OUT = """
import ctypes, os, signal, socket, sys
from engine.cage.worker import shut_out
if not shut_out():
    sys.exit(77)
parent = os.getppid()
tries = {
    "read": lambda: open("/etc/passwd"),
    "list": lambda: os.listdir("/"),
    "environ": lambda: open(f"/proc/{parent}/environ"),
    "write": lambda: open("/tmp/shut_out", "w"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "connect": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5),
    "bind": lambda: socket.create_server(("127.0.0.1", 0)),
    "kill": lambda: os.kill(parent, 0),
}
for name, act in tries.items():
    try:
        act()
        print(name, "done")
    except PermissionError:
        print(name, "refused")
os.memfd_create("still possible")
os.kill(os.getpid(), 0)
"""


def landlock() -> int:
    """The version that the kernel has, 0 or less without."""
    return (
        ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
        if sys.platform == "linux"
        else 0
    )


needs_landlock = pytest.mark.skipif(landlock() < 6, reason="needs Landlock 6 (Linux 6.12)")


@needs_landlock
def test_the_kernel_refuses_files_network_programs_and_signals() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", SHUT_OUT, port], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"refused"}
    assert len(done.stdout.splitlines()) == 8


@needs_landlock
def test_every_thread_of_a_worker_is_shut_out() -> None:
    process = Process(Limits(1 << 28, 1 << 24, 3, 30.0), idle_seconds=None)
    process.ask("run", "SELECT count(*) FROM range(10000000) t(i) WHERE hash(i) % 7 = 0", {}, 1)
    tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
    assert len(tasks) >= 3
    assert all("NoNewPrivs:\t1" in (task / "status").read_text() for task in tasks)
    process.kill()


@pytest.fixture
def locked() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB as a worker has it, in this process."""
    with connect(memory="100MB") as database:
        lock(database, threads=1)
        yield database


@pytest.mark.parametrize(
    "setting",
    [
        "enable_external_access = true",
        "memory_limit = '9GB'",
        "threads = 9",
        "temp_directory = '/tmp'",
        "lock_configuration = false",
        "errors_as_json = false",
    ],
)
def test_settings_are_locked(locked: duckdb.DuckDBPyConnection, setting: str) -> None:
    with pytest.raises(duckdb.Error, match=r"lock|external access"):
        locked.execute(f"SET {setting}")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}'",
        "LOAD '{file}'",
        "INSTALL httpfs",
        "EXPORT DATABASE '{file}'",
        "SELECT * FROM '{file}'",
    ],
)
def test_duckdb_itself_refuses_files(
    locked: duckdb.DuckDBPyConnection, sql: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    with pytest.raises(duckdb.Error):
        locked.execute(sql.format(file=file))
    assert file.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("error", "kind", "message", "position"),
    [
        (duckdb.BinderException("Binder Error: nothing"), "BinderException", "nothing", None),
        (
            duckdb.ConversionException(
                'Conversion Error: {"exception_message": "no", "position": "20"}'
            ),
            "ConversionException",
            "no",
            20,
        ),
        (duckdb.Error("X Error: {not json}"), "Error", "{not json}", None),
        (OSError('Invalid Error: {"exception_type": "Out of Range", "exception_message": "o"}'),
         "OutOfRangeException", "o", None),
        (MemoryError(), "OutOfMemoryException", "", None),
    ],
)  # fmt: skip
def test_errors_are_data(error: Exception, kind: str, message: str, position: int | None) -> None:
    told = describe(error, {"task": "run"})
    assert told == {"kind": kind, "message": message, "position": position}


def test_messages_of_any_length_and_files_go_over() -> None:
    one, two = socket.socketpair()
    with one, two:
        two.settimeout(10)
        file = (
            os.memfd_create("x") if sys.platform == "linux" else os.open("/dev/null", os.O_RDONLY)
        )
        for size in (0, 1, 70_000):
            sending = Thread(target=send, args=(one, {"text": "ü" * size}, file))
            sending.start()
            message, files = receive(two)
            assert message == {"text": "ü" * size}
            sending.join()
            assert len(files) == 1
            assert not os.get_inheritable(files[0])
            os.close(files[0])
        os.close(file)
        one.shutdown(socket.SHUT_WR)
        assert receive(two) == (None, [])


def test_a_long_statement_and_a_long_error(sandbox: Sandbox) -> None:
    long = "x" * 400_000
    assert sandbox.run(f"SELECT '{long}' AS a", {}, max_rows=1).to_pylist() == [{"a": long}]
    with pytest.raises(Exception, match="could not convert") as caught:
        sandbox.run(f"SELECT '{long}'::INT", {}, max_rows=1)
    assert len(str(caught.value)) <= 1000
