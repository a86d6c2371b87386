"""A worker as its parent holds it: started, asked, and killed at its deadline."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from engine.cage.arena import Arena, read_result
from engine.cage.worker import receive, send
from engine.errors import ExecutionError

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("worker.py")
_START_SECONDS = 60.0  # for the imports, on a machine that is busy
_WORN_BYTES = 128 << 20  # a worker that holds this much more than at first is replaced
_WORN_STATEMENTS = 10_000
# what the loader and the locale need; nothing else of the environment is handed on
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
_SETTINGS = {
    "TZ": "UTC",  # the relations' times are UTC, so comparing them with a TIMESTAMPTZ is
    "PYTHONPATH": os.pathsep.join(
        dict.fromkeys(str(Path(str(module.__file__)).parents[1]) for module in (duckdb, pa, np))
    ),
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve by the gigabyte
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
}
_BROKEN = ("InternalException", "FatalException")  # after which DuckDB is not itself
_MEMORY = re.compile("bad_alloc|MemoryError|[Oo]ut of memory|allocate memory")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may take; `result` is of its rows in Arrow's form."""

    memory: int  # bytes
    result: int  # bytes
    threads: int
    seconds: float


class Ended(Exception):
    """The worker ended instead of answering.

    At its start, at rest before it had read what was asked, out of time or memory, or by a crash.
    """

    def __init__(
        self, kind: Literal["start", "rest", "time", "memory", "crash"], reason: str = ""
    ) -> None:
        super().__init__(reason)
        self.kind = kind


class Process:
    """One worker; it runs one statement at a time."""

    def __init__(self, limits: Limits, *, idle_seconds: float | None) -> None:
        self.limits = limits
        self.worn = False
        self._asked = 0
        self._ready = False
        self._arena = Arena()
        self._channel, theirs = socket.socketpair()
        with theirs:
            given = {**asdict(limits), "channel": theirs.fileno(), "idle_seconds": idle_seconds}
            self._process = _start(given, theirs.fileno())
        self._end = weakref.finalize(
            self, _end, self._process, self._channel, self._arena, os.getpid()
        )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, whatever it does; its memory is free afterwards. For the thread that has it."""
        self._end()

    def interrupt(self) -> None:
        """End it under the hands of the thread that asked it."""
        self._process.kill()

    def ask(
        self, task: Literal["check", "run"], sql: str, relations: Mapping[str, pa.Table], rows: int
    ) -> tuple[pa.Table | None, dict[str, Any]]:
        """Run a statement; return its rows, or None with the error as the worker tells it."""
        begun = False
        try:
            self._await_start()
            deadline = monotonic() + self.limits.seconds
            self._send(task, sql, relations, rows)
            begun = receive(self._channel)[0] is not None
            self._channel.settimeout(max(deadline - monotonic(), 0.001))
            reply, files = receive(self._channel)
            if reply is None:
                raise self._ended(begun)
            table = _read(files)
        except TimeoutError as error:
            self.kill()
            raise Ended("time") from error
        except ConnectionError as error:
            raise self._ended(begun) from error
        except BaseException:  # Ctrl-C above all: nobody will read what it says
            self.kill()
            raise
        self._arena.trim()
        self._asked += 1
        self.worn = (
            reply["grown"] > _WORN_BYTES
            or self._asked >= _WORN_STATEMENTS
            or reply.get("error", {}).get("kind") in _BROKEN
        )
        return table, reply

    def _await_start(self) -> None:
        if self._ready:
            return
        self._channel.settimeout(_START_SECONDS)
        reply, _ = receive(self._channel)
        if reply is None:
            raise Ended("start", str(self._ended(begun=True)))
        if not reply["hard"]:
            log.warning("no hard limit on SQL's memory on this system: DuckDB's own alone holds")
        if not reply["shut"]:
            log.info("no Landlock on this system: DuckDB's own settings alone keep SQL from files")
        self._ready = True

    def _send(self, task: str, sql: str, relations: Mapping[str, pa.Table], rows: int) -> None:
        places, renewed = self._arena.lay_out(relations)
        request = {
            "task": task,
            "sql": sql,
            "relations": places,
            "capacity": self._arena.capacity,
            "max_rows": rows,
            "max_bytes": self.limits.result,
        }
        self._channel.settimeout(self.limits.seconds)
        send(self._channel, request, *([self._arena.file] if renewed else []))

    def _ended(self, begun: bool) -> Ended:
        """Say why there is no answer: the process is gone."""
        code = self._process.wait()
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip()
        self.kill()
        if not begun:
            return Ended("rest")
        memory = code == -signal.SIGKILL or _MEMORY.search(said)  # the kernel kills for it
        last = said.rpartition("\n")[2] or f"exit code {code}"
        log.debug("worker %d ended with code %d: %s", self.pid, code, said)
        reason = signal.Signals(-code).name if code < 0 else last
        return Ended("memory" if memory else "crash", reason)


def _start(given: Mapping[str, Any], channel: int) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise ExecutionError("SQL needs a Python to start, and sys.executable is empty")
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        # no site, no script's folder, no warnings: what it imports stands in PYTHONPATH
        [sys.executable, "-S", "-P", "-B", "-Wignore", str(_PROGRAM), json.dumps(given)],
        env=kept | _SETTINGS,
        stdin=subprocess.PIPE,  # never written to: its end tells the worker that we are gone
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[channel],
        start_new_session=True,  # Ctrl-C is for us
        cwd="/",
    )


def _end(process: subprocess.Popen[bytes], channel: socket.socket, arena: Arena, by: int) -> None:
    if os.getpid() != by:  # a fork of the parent holds copies, and ends nothing
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stderr):
        assert stream is not None
        stream.close()
    channel.close()
    arena.close()


def _read(files: Sequence[int]) -> pa.Table | None:
    try:
        return read_result(files[0]) if files else None
    finally:
        for file in files:
            os.close(file)
