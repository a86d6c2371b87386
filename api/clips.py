"""Clips that were cut, kept for who plays, seeks or reloads them: one folder, bounded in size."""

import asyncio
import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

Cut = Callable[[Path], object]  # writes a clip to a path

_AT_A_TIME = 2  # cuts; each uses all cores
_IN_USE_SECONDS = 60.0  # a clip asked for so lately is not removed: a response may be opening it


def clip_key(*parts: object) -> str:
    """Return the name of a clip: the same for the same content, span and settings."""
    return sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


class Clips:
    """Cut clips below a folder, `<video>/<key>.mp4`; beyond `max_bytes` the least used go.

    However many ask for one clip at a time, it is cut once.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._cutting: dict[Path, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_A_TIME)

    async def get(self, video_id: int, key: str, cut: Cut) -> Path:
        """Return the file of a clip, cutting it first where it is not there yet."""
        path = self._folder / str(video_id) / f"{key}.mp4"
        task = self._cutting.get(path)
        if task is None and await asyncio.to_thread(_touch, path):
            return path
        task = self._cutting.get(path)  # another request may have begun meanwhile
        if task is None:
            task = asyncio.create_task(self._make(path, cut))
            self._cutting[path] = task
            task.add_done_callback(lambda done: self._ended(path, done))
        await asyncio.shield(task)  # who goes away does not stop it for the others
        return path

    async def _make(self, path: Path, cut: Cut) -> None:
        async with self._places:
            await asyncio.to_thread(_write, path, cut)
            await asyncio.to_thread(self._trim)

    def _ended(self, path: Path, done: "asyncio.Task[None]") -> None:
        del self._cutting[path]
        if not done.cancelled():
            done.exception()  # looked at, also when nobody waits any more

    def _trim(self) -> None:
        """Remove the clips that were not asked for the longest, until the rest fits."""
        found = [(path.stat(), path) for path in self._folder.glob("*/*.mp4")]
        found.sort(key=lambda pair: pair[0].st_atime)
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in found:
            if total <= self._max_bytes or time.time() - stat.st_atime < _IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _touch(path: Path) -> bool:
    """Note that a clip is used, if it is there; its own time and so its ETag stay."""
    try:
        os.utime(path, (time.time(), path.stat().st_mtime))
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, cut: Cut) -> None:
    """Cut beside the place and move there, so that a clip is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.mp4")
    try:
        cut(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
