"""A cache of clips and pictures: one folder, bounded in size."""

import asyncio
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from api.turns import Turns

Make = Callable[[Path], object]  # writes a file to a path

_IN_USE_SECONDS = 60.0  # a file asked for so lately is not removed: a response may be opening it
_SPARE = 0.9  # what is left of the limit after files were removed, so that it is not done each time


def key_of(*parts: object) -> str:
    """Return the name of a file: the same for the same content, place and settings."""
    return sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


class Shelf:
    """Keep files below a folder, `<video>/<name>`; beyond `max_bytes` the least used go.

    However many ask for one file at a time, it is made once.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._making: dict[Path, asyncio.Task[None]] = {}
        self._bytes: int | None = None  # that are there, once counted

    async def get(self, video_id: int, name: str, make: Make, turns: Turns) -> Path:
        """Return a file, making it first, in its turn, where it is not there yet."""
        path = self._folder / str(video_id) / name
        task = self._making.get(path)
        if task is None and await asyncio.to_thread(_touch, path):
            return path
        task = self._making.get(path)  # another request may have begun meanwhile
        if task is None:
            task = asyncio.create_task(turns.take(lambda: self._make(path, make)))
            self._making[path] = task
            task.add_done_callback(lambda done: self._ended(path, done))
        await asyncio.shield(task)  # who goes away does not stop it for the others
        return path

    def _make(self, path: Path, make: Make) -> None:
        _write(path, make)
        if self._bytes is not None:
            self._bytes += path.stat().st_size
        if self._bytes is None or self._bytes > self._max_bytes:
            self._bytes = self._trim()

    def _ended(self, path: Path, done: "asyncio.Task[None]") -> None:
        del self._making[path]
        if not done.cancelled():
            done.exception()  # looked at, also when nobody waits any more

    def _trim(self) -> int:
        """Remove what was not asked for the longest until the rest fits; return its bytes."""
        found = [(path.stat(), path) for path in self._folder.glob("*/[!.]*")]
        found.sort(key=lambda pair: pair[0].st_atime)
        total = sum(stat.st_size for stat, _ in found)
        most = self._max_bytes if total <= self._max_bytes else _SPARE * self._max_bytes
        for stat, path in found:
            if total <= most or time.time() - stat.st_atime < _IN_USE_SECONDS:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size
        return total


def _touch(path: Path) -> bool:
    """Note that a file is used, if it is there; its own time stays."""
    try:
        os.utime(path, (time.time(), path.stat().st_mtime))
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, make: Make) -> None:
    """Write beside the place and move there, so that a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")  # the suffix says the kind to who writes it
    try:
        make(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
