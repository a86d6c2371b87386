"""The process that decodes: a task in, its stretches out, one for each time it is asked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from engine.cluster.parcel import Parcel
from engine.cluster.passport import Passport, unseen
from engine.ingesting.plan import Task
from engine.ingesting.pool import DecodePool, Failed
from engine.ingesting.prepare import Decoded, Preparation, PreparedStretch, prepare_task


@dataclass(frozen=True, slots=True)
class Hello:
    """What a process says when it has begun."""

    passport: Passport
    unseen: str | None = None  # a folder that it has to see and does not
    room: int = 0  # parcels that an encoder takes at a time
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Made:
    """What a decoder says beside a parcel: what it holds, and whether the task is over."""

    event: Decoded | None  # None: there is no parcel
    ends: bool
    failed: Failed | None = None
    absent: str | None = None  # a video that this node does not see
    size_bytes: int = 0


class DecodeProcess:
    """One decoder; it has one task at a time, and decodes no further than one stretch ahead."""

    def __init__(self, preparation: Preparation, stall_seconds: float) -> None:
        self._preparation = preparation
        self._stall_seconds = stall_seconds
        self._items: Iterator[PreparedStretch | Failed] = iter(())
        self._left = 0

    def hello(self, folders: list[Path], mark: str) -> Hello:
        """Say what it is."""
        return Hello(Passport.own(), unseen(folders, mark))

    def next(self, task: Task | None) -> tuple[Made, Parcel | None]:
        """Begin a task, or go on with the one that was begun: up to its next stretch."""
        if task is not None:
            path = task.source.path
            if isinstance(path, Path) and not path.exists():
                return Made(None, ends=True, absent=str(path)), None
            self._items, self._left = self._decode(task), len(task.stretches)
        item = next(self._items, None)
        if not isinstance(item, PreparedStretch):
            return Made(None, ends=True, failed=item), None
        self._left -= 1
        parcel = Parcel.pack(item)
        event = replace(item.event, task=parcel.bare.task)
        return Made(event, ends=not self._left, size_bytes=parcel.size_bytes), parcel

    def _decode(self, task: Task) -> Iterator[PreparedStretch | Failed]:
        pool = DecodePool(
            tasks=iter([task]),
            prepare=partial(prepare_task, self._preparation),
            workers=1,
            ahead=1,
            stall_seconds=self._stall_seconds,
        )
        with pool:
            yield from pool
