"""When work ends before it is done: at a Ctrl-C, or when its time is over."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def interruptible(stopped: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Give a function that says whether to stop: after one Ctrl-C, or when `stopped` says so.

    A second Ctrl-C interrupts at once. Signals reach the main thread alone; in others only
    `stopped` counts.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        log.warning("stopping: what is begun is being committed; Ctrl-C again stops at once")

    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked.is_set() or stopped()
    finally:
        signal.signal(signal.SIGINT, before)


def past(*limits: float | None) -> Callable[[], bool]:
    """Return what tells whether the least of some limits in seconds is over; None is none."""
    stop = monotonic() + min((limit for limit in limits if limit is not None), default=inf)
    return lambda: monotonic() > stop
