"""Decoding threads with back-pressure, and a watch on those that stop moving."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from engine.errors import VideoError
from engine.ingesting.plan import Task
from engine.ingesting.prepare import PreparedStretch
from engine.video.limits import PICTURE_SECONDS

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.2

T = TypeVar("T")
Prepare = Callable[[Task, Callable[[], None]], Iterator[PreparedStretch]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that broke off; the stretches that it yielded before are good."""

    task: Task
    error: VideoError


class _Stopped(BaseException):
    """Leaves a decoder in the middle of a stretch; nobody waits for it any more."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One thread; `beat` is when it last moved, for ever while it waits for others."""

    task: Task | None = None
    beat: float = inf
    spent_seconds: float = 0.0  # on its task, not waiting for others
    allowed_seconds: float = inf
    abandoned: bool = False


@dataclass(slots=True, eq=False)
class DecodePool:
    """Tasks in, prepared stretches out, in whatever order they are done.

    Once `ended` says so all threads stop, also within a stretch, of which nothing comes then.
    `tasks` is drawn from in a thread of its own, a few tasks ahead. At most `ahead` stretches wait
    for the reader. A thread that decodes no picture for `stall_seconds` is given up, its task
    fails, and another takes its place; a task that takes `stall_seconds` and `PICTURE_SECONDS` for
    each of its pictures fails too. Use as a context manager: leaving it stops all threads.
    """

    tasks: Iterator[Task]
    prepare: Prepare
    workers: int
    ahead: int
    stall_seconds: float = 60.0
    ended: Callable[[], bool] = lambda: False
    _todo: "queue.Queue[Task | None]" = field(init=False)
    _done: "queue.Queue[PreparedStretch | Failed | BaseException | None]" = field(init=False)
    _ended: int = field(init=False, default=0)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)
    _crew: list[_Worker] = field(init=False, default_factory=list)
    _threads: dict[int, threading.Thread] = field(init=False, default_factory=dict)

    def __enter__(self) -> Self:
        """Start the threads."""
        self._todo = queue.Queue(2 * self.workers)
        self._done = queue.Queue(self.ahead)
        self._start(self._plan, "plan")
        for _ in range(self.workers):
            self._hire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all threads; those given up are left behind."""
        self.stop()
        left = {id(worker) for worker in self._crew if worker.abandoned}
        for key, thread in self._threads.items():
            if key not in left:
                thread.join(self.stall_seconds)

    def stop(self) -> None:
        """Begin no further stretch."""
        self._stop.set()

    def __iter__(self) -> Iterator[PreparedStretch | Failed]:
        """Yield until every task is done, or until stopped."""
        while self._ended < self.workers and not self._stop.is_set():
            if self.ended():
                self.stop()
                return
            yield from self._give_up_stalled()
            if (item := self._take(POLL_SECONDS)) is not None:
                yield item

    def ready(self, most: int) -> list[PreparedStretch | Failed]:
        """Return up to `most` items that can be had without waiting."""
        items: list[PreparedStretch | Failed] = []
        while len(items) < most and (item := self._take(0)) is not None:
            items.append(item)
        return items

    def _take(self, seconds: float) -> PreparedStretch | Failed | None:
        try:
            item = self._done.get(timeout=seconds) if seconds else self._done.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, BaseException):
            raise item
        self._ended += item is None
        return item

    def _plan(self) -> None:
        for task in self.tasks:
            if not self._put(self._todo, task):
                return
        for _ in range(self.workers):
            self._put(self._todo, None)

    def _hire(self) -> None:
        worker = _Worker()
        self._crew.append(worker)
        self._start(lambda: self._work(worker), "decode", worker)

    def _start(self, run: Callable[[], None], name: str, key: object | None = None) -> None:
        thread = threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
        self._threads[id(key)] = thread
        thread.start()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  # raised again where the pool is read
            self._put(self._done, error)

    def _work(self, worker: _Worker) -> None:
        while not (self._stop.is_set() or worker.abandoned):
            try:
                task = self._todo.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if task is None:
                self._put(self._done, None)
                return
            worker.task, worker.spent_seconds = task, 0.0
            worker.allowed_seconds = self.stall_seconds + PICTURE_SECONDS * task.pictures
            self._run(worker, task)
            worker.task, worker.beat = None, inf

    def _run(self, worker: _Worker, task: Task) -> None:
        try:
            tick = partial(self._tick, worker)
            tick()
            for item in self.prepare(task, tick):
                worker.beat = inf
                if worker.abandoned or not self._put(self._done, item):
                    return
                tick()
        except _Stopped:
            return
        except VideoError as error:
            if not worker.abandoned:
                self._put(self._done, Failed(task, error))

    def _tick(self, worker: _Worker) -> None:
        now = monotonic()
        worker.spent_seconds += max(now - worker.beat, 0.0)
        worker.beat = now
        if self._stop.is_set() or worker.abandoned or self.ended():
            raise _Stopped
        if worker.spent_seconds > worker.allowed_seconds:
            assert worker.task is not None
            raise VideoError(
                f"decoding {worker.task.pictures} pictures took more than"
                f" {worker.allowed_seconds:g} s",
                path=str(worker.task.source.path),
            )

    def _put(self, line: "queue.Queue[T]", item: T) -> bool:
        """Wait for room; return False if stopped meanwhile."""
        while not self._stop.is_set():
            try:
                line.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _give_up_stalled(self) -> Iterator[Failed]:
        for worker in [w for w in self._crew if not w.abandoned and w.task is not None]:
            if monotonic() - worker.beat > self.stall_seconds:
                worker.abandoned = True
                task = worker.task
                assert task is not None
                reason = f"the decoder made no progress for {self.stall_seconds:g} s"
                logger.warning("%s: %s", task.source.name, reason)
                self._hire()
                yield Failed(task, VideoError(reason, path=str(task.source.path)))
