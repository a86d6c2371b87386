"""One process writes: the lock on a data folder, and who holds it."""

import errno
import fcntl
import json
import os
import sys
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from time import monotonic, sleep

from engine.errors import StoreError
from engine.storage.layout import Layout

_PROBE_SECONDS = 10.0  # for which those who look whether it is free may follow each other


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a data folder; `url` where it is a server."""

    pid: int
    command: str
    url: str | None = None


class Lock:
    """The lock of this process, from construction to `release`; the system frees it on a crash."""

    def __init__(self, root: Path) -> None:
        path, end = Layout(root).lock, monotonic() + _PROBE_SECONDS
        self._file = _grab(path, fcntl.LOCK_EX)
        while self._file is None:
            held = holder(root)
            if held is not None or monotonic() > end:
                raise StoreError(_taken(root, held))
            sleep(0.005)
            self._file = _grab(path, fcntl.LOCK_EX)
        self._write(None)

    def announce(self, url: str) -> None:
        """Tell others where this process serves."""
        self._write(url)

    def release(self) -> None:
        """Give the folder back."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def _write(self, url: str | None) -> None:
        assert self._file is not None
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        self._file.truncate(0)
        told = json.dumps(asdict(Holder(os.getpid(), command, url))).encode()
        try:
            os.write(self._file.fileno(), told)
        except OSError as error:  # the lock holds without its words: a full disk can be read
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise


def may_write(root: Path) -> bool:
    """Whether this process may change a data folder; where it may not, it reads what is published.

    A disk that is mounted for reading says no to everyone, rights on files not to root.
    """
    return os.access(root, os.W_OK)


def holder(root: Path) -> Holder | None:
    """Return who has a data folder, or None when it is free.

    A command that finds a holder with a URL asks that server instead of opening the store.
    """
    path = Layout(root).lock
    if not path.exists() or not os.access(path, os.W_OK):
        return None  # who may not write here cannot ask
    free = _grab(path, fcntl.LOCK_SH)  # any number may look at a time
    if free is not None:
        free.close()
        return None
    try:
        return Holder(**json.loads(path.read_text()))
    except (json.JSONDecodeError, TypeError):
        return Holder(0, "a process that has just started")


def _grab(path: Path, how: int) -> TextIOWrapper | None:
    """Return the locked file, or None when another process has it."""
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(f"cannot use the data folder {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _taken(root: Path, held: Holder | None) -> str:
    if held is None:
        return f"the data folder {root} was in use a moment ago; try again"
    serving = f", serving at {held.url}" if held.url else ""
    return f"the data folder {root} is in use by process {held.pid} ({held.command}){serving}"
