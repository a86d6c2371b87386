"""Waiting for what a thread, a process or a page does: as long as it takes, and no longer."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LONG = 120.0  # seconds: on the slowest machine it is there by then, or never will be


def until(ready: Callable[[], T]) -> T:
    """Wait until something is there, and return it."""
    stop = time.monotonic() + LONG
    while not (found := ready()):
        assert time.monotonic() < stop, "it does not come"
        time.sleep(0.02)
    return found
