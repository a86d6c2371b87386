"""The program of a worker: DuckDB and Arrow alone, one statement at a time.

A bare interpreter runs this file as a script, so it imports nothing of ours. Relations are read
where they lie in shared memory; results go back in a shared file of their own. Whatever happens
here (a crash, a lack of memory, a statement without end) ends this process and no other.
"""

import ctypes
import fcntl
import json
import mmap
import os
import re
import resource
import select
import socket
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset  # DuckDB reads tables through it; here before the first statement needs it

Request = dict[str, Any]

BATCH_ROWS = 65_536
_SLACK_BYTES = 32 << 20  # stacks and buffers beside what a statement computes
_LONGEST_MESSAGE = 1000
_LINUX = sys.platform.startswith("linux")
_STATM = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC) if _LINUX else -1
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Landlock's numbers: of calls, the same on all machines, and how many rights of files it knows
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _NO_NEW_PRIVILEGES = 444, 445, 446, 38
_FILE_RIGHTS = ((5, 16), (3, 15), (2, 14), (1, 13))  # since a version
_CLOCK = ("/usr/share/zoneinfo", "/etc/localtime")  # what the time zone is read from
_CHECKED = "SELECT * FROM ({}\n) LIMIT 0"
_CLOSE_ON_EXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Refused(Exception):
    """A statement that goes past a limit, or is none: what kind, and words for it."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def main() -> None:
    """Answer requests until the other side is gone, or until nothing was asked for long."""
    given = json.loads(sys.argv[1])
    _end_with_parent()
    channel = socket.socket(fileno=given["channel"])
    database = connect(memory=f"{given['memory']}B")
    shut = shut_out()  # before there are threads, which it would not hold for
    lock(database, threads=given["threads"])
    worker = Worker(database, given["memory"])
    worker.warm()
    send(channel, {"hard": limit(given["memory"], given["result"]), "shut": shut})
    while select.select([channel], [], [], given["idle_seconds"])[0]:
        request, files = receive(channel)
        if request is None:
            return
        send(channel, {"begun": True})  # from here on its end is the statement's doing
        reply, file = worker.answer(request, files)
        send(channel, reply, *([] if file is None else [file]))
        if file is not None:
            os.close(file)


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent closes the other end of stdin, or dies.

    Nothing in here needs to run for that: SIGIO's own action is to terminate.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it was gone before
        sys.exit()


def shut_out() -> bool:
    """Let the kernel refuse this process all files, TCP and signals to others (Landlock).

    False where the kernel cannot; DuckDB's own settings refuse files and network anyway.
    """
    if not _LINUX:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    files = next(bits for since, bits in _FILE_RIGHTS if version >= since)
    refused = struct.pack("=QQQ", (1 << files) - 1, 3 * (version >= 4), 3 * (version >= 6))
    rules = library.syscall(_CREATE_RULESET, refused, ctypes.c_size_t(len(refused)), 0)
    for path in filter(os.path.exists, _CLOCK):
        folder = os.open(path, os.O_PATH)
        may_read = struct.pack("=Qi", 12 if Path(path).is_dir() else 4, folder)
        library.syscall(_ADD_RULE, rules, 1, may_read, 0)
        os.close(folder)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = library.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return done


def connect(*, memory: str) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that looks for no files and no extensions; it has no threads."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": "1",
            "async_threads": "0",
            "temp_directory": "",
            "python_enable_replacements": "false",
            "allow_community_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "errors_as_json": "true",
        },
    )


def lock(database: duckdb.DuckDBPyConnection, *, threads: int) -> None:
    """Give it its threads, and take files, the network and all settings from it."""
    database.execute(f"SET threads = {threads}")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def limit(memory: int, result: int) -> bool:
    """Bound what this process may allocate from now on; False where the system cannot."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (result + _SLACK_BYTES,) * 2)
    if not _LINUX:
        return False
    with suppress(OSError):  # where it may be said: the kernel ends this one first, if it must
        Path("/proc/self/oom_score_adj").write_text("1000")
    most = int(_statm()[5]) * _PAGE + memory + _SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return True


def _statm() -> list[bytes]:
    return os.pread(_STATM, 200, 0).split()


def private_bytes() -> int:
    """Return the memory that this process alone holds, 0 where the system does not say."""
    if not _LINUX:
        return 0
    _, resident, shared, *_ = _statm()
    return (int(resident) - int(shared)) * _PAGE


class Worker:
    """A database and the shared memory in which relations come."""

    def __init__(self, database: duckdb.DuckDBPyConnection, memory: int) -> None:
        self.database = database
        self.memory = memory
        self.at_rest = 0
        self.arena: pa.Buffer = pa.py_buffer(b"")

    def warm(self) -> None:
        """Run a statement, so that none of a user's pays for what happens once."""
        with self.database.cursor() as cursor:
            cursor.register("warm", pa.table({"a": [1]}))
            cursor.sql("SELECT sum(a) FROM warm WHERE a > 0").to_arrow_table()
        self.at_rest = private_bytes()

    def answer(self, request: Request, files: list[int]) -> tuple[dict[str, Any], int | None]:
        """Run a request; return the reply, and the file with the result where there is one."""
        if files:
            self.arena = pa.py_buffer(mmap.mmap(files[0], request["capacity"], prot=mmap.PROT_READ))
            os.close(files[0])
        file = shared_file("result")
        try:
            rows = self._compute(request, file)
            return {"rows": rows, "grown": self._grown()}, file
        except (Refused, duckdb.Error, pa.ArrowException, MemoryError, OSError) as error:
            os.close(file)
            return {"error": describe(error, request), "grown": self._grown()}, None

    def _grown(self) -> int:
        return private_bytes() - self.at_rest

    def _compute(self, request: Request, file: int) -> int:
        with self.database.cursor() as cursor:
            for name, start, size in request["relations"]:
                stream = pa.ipc.open_stream(self.arena.slice(start, size))
                cursor.register(name, stream.read_all())
            _expect_select(cursor, request["sql"])
            if request["task"] == "check":
                cursor.execute(_CHECKED.format(request["sql"]))
                reader = cursor.to_arrow_reader(BATCH_ROWS)
            else:
                reader = cursor.sql(request["sql"]).to_arrow_reader(BATCH_ROWS)
            return self._write(reader, request, file)

    def _write(self, reader: pa.RecordBatchReader, request: Request, file: int) -> int:
        rows = size = 0
        with (
            os.fdopen(file, "wb", buffering=0, closefd=False) as raw,
            pa.ipc.new_stream(pa.PythonFile(raw, "w"), reader.schema) as writer,
        ):
            for batch in reader:
                rows += batch.num_rows
                size += pa.ipc.get_record_batch_size(batch)
                if rows > request["max_rows"]:
                    raise Refused("rows")
                if size > request["max_bytes"]:
                    raise Refused("bytes")
                # what is written counts too, though it lies outside of this process
                if self._grown() + size > self.memory + _SLACK_BYTES:
                    raise Refused("memory")
                writer.write_batch(batch)
        return rows


def _expect_select(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [statement.type for statement in cursor.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        raise Refused("BinderException", "only one SELECT is accepted")


def describe(error: BaseException, request: Request) -> dict[str, Any]:
    """Return an error as data: its kind, DuckDB's words, and the place in the statement."""
    if isinstance(error, Refused):
        return {"kind": error.kind, "message": str(error), "position": None}
    text, said = str(error), dict[str, Any]()
    if found := re.search(r"Error: (\{.*\})", text, re.DOTALL):
        said = _parsed(found[1])
    kind = type(error).__name__
    if not isinstance(error, duckdb.Error):  # of a later batch, through Arrow
        words = said.get("exception_type", "Out of Memory" * isinstance(error, MemoryError))
        kind = "".join(map(str.capitalize, words.split())) + "Exception" if words else kind
    position = int(said["position"]) if "position" in said else None
    if position is not None and request["task"] == "check":
        position -= _CHECKED.index("{")
    message = said.get("exception_message", re.sub(r"^[\w ]+? Error: ", "", text))
    return {"kind": kind, "message": message[:_LONGEST_MESSAGE], "position": position}


def _parsed(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except json.JSONDecodeError:  # a message that only looks like it
        return {}


def shared_file(name: str) -> int:
    """Open a file that lives in memory, or where there is no such thing an unnamed one on disk."""
    if _LINUX:
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def send(channel: socket.socket, message: dict[str, Any], *files: int) -> None:
    """Send a message, with files that the receiver then has open too."""
    body = json.dumps(message).encode()
    frame = len(body).to_bytes(4, "big") + body
    sent = socket.send_fds(channel, [frame], files) if files else 0
    channel.sendall(frame[sent:])


def receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Wait for a message; None when the other side is gone."""
    head, files, _, _ = socket.recv_fds(channel, 4, 1, _CLOSE_ON_EXEC)
    for file in files:
        os.set_inheritable(file, False)
    head += _exactly(channel, 4 - len(head)) if head else b""
    size = int.from_bytes(head, "big")
    body = _exactly(channel, size)
    return (json.loads(body) if size and len(body) == size else None), files


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size and (part := channel.recv(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
