"""A bounded number of workers, lent out one statement at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from time import monotonic

from engine.cage.process import Limits, Process
from engine.errors import LimitError, UsageError

_IDLE_SECONDS = 60.0  # after which all workers but the first end
_CLOSE_SECONDS = 10.0  # for threads to hear that their statements are over


class Pool:
    """Workers by need, `size` at most; one that was lost is replaced at once."""

    def __init__(self, limits: Limits, size: int) -> None:
        self.limits = limits
        self.size = size
        self._changed = Condition()
        self._idle: list[Process] = []
        self._lent: set[Process] = set()
        self._closed = False
        self._kept = 1  # that wait, once there was a statement

    def warm(self) -> None:
        """Start the first worker and one to spare, so that no statement waits for their imports."""
        with self._changed:
            self._kept = min(2, self.size)
            self._fill()

    def _fill(self) -> None:
        """Start what is to wait for statements; who started last is taken last."""
        while not self._closed and (count := len(self._idle) + len(self._lent)) < self.size:
            if self._idle and count >= self._kept:
                return
            self._idle.insert(0, Process(self.limits, idle_seconds=None))

    @contextmanager
    def lend(self) -> Iterator[Process]:
        """Lend a worker; wait for one where all work, as long as a statement may take."""
        process = self._take()
        try:
            yield process
        finally:
            self._put_back(process)

    def close(self) -> None:
        """End all workers, those at work too."""
        with self._changed:
            self._closed = True
            for process in self._lent:
                process.interrupt()
            while self._idle:
                self._idle.pop().kill()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lent, _CLOSE_SECONDS)

    @property
    def pids(self) -> list[int]:
        """The numbers of the workers' processes."""
        return [process.pid for process in [*self._idle, *self._lent]]

    @property
    def is_closed(self) -> bool:
        """Whether nothing is lent any more."""
        return self._closed

    def _take(self) -> Process:
        deadline = monotonic() + self.limits.seconds
        with self._changed:
            while not self._closed:
                process = self._find()
                if process is not None:
                    self._lent.add(process)
                    return process
                if not self._changed.wait(deadline - monotonic()):
                    said = f"all {self.size} SQL workers were busy for {self.limits.seconds:g} s"
                    raise LimitError(said, kind="time")
        raise UsageError("SQL is over: the engine was closed")

    def _find(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()  # the last one used is the warmest
            if process.is_alive:
                return process
            process.kill()
        if len(self._lent) < self.size:
            first = not self._lent
            return Process(self.limits, idle_seconds=None if first else _IDLE_SECONDS)
        return None

    def _put_back(self, process: Process) -> None:
        with self._changed:
            self._lent.discard(process)
            if self._closed or process.worn or not process.is_alive:
                process.kill()
                self._fill()
            else:
                self._idle.append(process)
            self._changed.notify_all()
