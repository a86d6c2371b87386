"""Run an iterator ahead of its consumer, on a thread of its own."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items in order while up to `depth` more are made; their error is raised here.

    Closing the generator, or an error in the consumer, stops the thread after its current item.
    """
    queue: Queue[tuple[T] | BaseException | None] = Queue(depth)
    stopped = Event()

    def offer(item: tuple[T] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return queue.put(item, timeout=_POLL_SECONDS)
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                offer((item,))
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001, raised by the consumer
            offer(error)

    thread = Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (got := queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:
        stopped.set()
        with suppress(Empty):
            queue.get_nowait()
        thread.join()
