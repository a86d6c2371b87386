"""Cancel, from another thread, the statements that nobody waits for any more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TypeVar

from engine.cage.process import Process
from engine.errors import LimitError

T = TypeVar("T")


class Ending:
    """Work runs under it; `end` ends the statement at work at once, and those that would follow."""

    def __init__(self) -> None:
        self.is_over = False
        self._lock = Lock()
        self._process: Process | None = None

    def run(self, work: Callable[[], T]) -> T:
        """Do work in this thread; its statements end when `end` is called."""
        token = _current.set(self)
        try:
            return work()
        finally:
            _current.reset(token)

    def end(self) -> None:
        """End the statement at work; what works beside it asks `check_awaited` as it goes."""
        with self._lock:
            self.is_over = True
            if self._process is not None:
                self._process.interrupt()

    def take(self, process: Process | None) -> None:
        """Note what runs for this work now."""
        with self._lock:
            self._process = process
            if self.is_over and process is not None:
                process.interrupt()


_current: ContextVar[Ending | None] = ContextVar("ending", default=None)


@contextmanager
def under_ending(process: Process) -> Iterator[None]:
    """Let the ending of the work at hand, where it has one, reach a worker."""
    ending = _current.get()
    if ending is None:
        yield
        return
    ending.take(process)
    try:
        yield
    finally:
        ending.take(None)


def is_ended() -> bool:
    """Whether nobody waits for the work at hand any more."""
    ending = _current.get()
    return ending is not None and ending.is_over


def ending_at_hand() -> Callable[[], bool]:
    """Return what tells, from any thread, whether nobody waits any more for this thread's work."""
    ending = _current.get()
    return lambda: ending is not None and ending.is_over


def check_awaited() -> None:
    """Raise LimitError where nobody waits for the work at hand any more: between dear parts."""
    if is_ended():
        raise LimitError("the query was ended: nobody waits for it", kind="ended")
