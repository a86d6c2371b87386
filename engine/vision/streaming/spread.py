"""Work on several devices of one host: a process each, items handed out as they are taken."""

import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from queue import Empty
from typing import TypeVar

import torch

from engine.errors import ExecutionError, UsageError

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[torch.device, Iterator[T]], Iterable[R]]
_POLL_SECONDS = 0.5
_PARENT_SECONDS = 2.0


def _never() -> bool:
    return False


def spread(
    work: Work[T, R],
    items: Iterable[T],
    devices: list[str],
    *,
    held: int,
    stopped: Callable[[], bool] = _never,
    ended: Callable[[], bool] = _never,
) -> Iterator[tuple[int, R]]:
    """Yield every result of `work` on all devices, with the number of the device.

    Args:
        work: run once in each process, on its device, over the items that it takes; pickled.
        items: pickled one by one; which device takes one is not known before.
        devices: such as `cuda:0`; one process for each.
        held: items for each device that wait in the line; the others wait with their maker.
        stopped: once true, no further item is handed out; what was taken is finished.
        ended: once true, nothing is waited for: the processes are ended.
    """
    if not devices:
        raise UsageError("devices must name one or more, got none; allowed: cuda:0, cpu, …")
    context = get_context("spawn")
    line: Queue[T | None] = context.Queue(held * len(devices))
    done: Queue[tuple[int, R] | str | None] = context.Queue()
    workers = [
        context.Process(target=_serve, args=(at, device, work, line, done), daemon=True)
        for at, device in enumerate(devices)
    ]
    for worker in workers:
        worker.start()
    try:
        yield from _collect(workers, iter(items), line, done, stopped, ended)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()


def _collect(
    workers: list[SpawnProcess],
    items: Iterator[T],
    line: "Queue[T | None]",
    done: "Queue[tuple[int, R] | str | None]",
    stopped: Callable[[], bool],
    ended: Callable[[], bool],
) -> Iterator[tuple[int, R]]:
    """Hand out, and pass on what comes back, until every worker has said that it is done."""
    running = ends = len(workers)
    held: T | None = None
    exhausted = False
    while running and not ended():
        if stopped() and not exhausted:
            held, exhausted = None, True
            _empty(line)
        while ends and not line.full():
            if held is None and not exhausted:
                held = next(items, None)
                exhausted = held is None
            line.put(held)
            ends -= held is None
            held = None
        try:
            got = done.get(timeout=_POLL_SECONDS)
        except Empty:
            dead = [w.exitcode for w in workers if w.exitcode not in (None, 0)]
            if dead:
                raise ExecutionError(f"an encoding process ended with code {dead[0]}") from None
            continue
        if isinstance(got, str):
            raise ExecutionError(f"an encoding process failed: {got}")
        if got is None:
            running -= 1
        else:
            yield got


def _empty(line: "Queue[T | None]") -> None:
    while True:
        try:
            line.get(timeout=0.05)
        except Empty:
            return


def _taken(line: "Queue[T | None]") -> Iterator[T]:
    """Take items until the end, or until whoever hands them out is gone."""
    maker = parent_process()
    while maker is None or maker.is_alive():
        try:
            item = line.get(timeout=_PARENT_SECONDS)
        except Empty:
            continue
        if item is None:
            return
        yield item


def _serve(
    number: int,
    device_name: str,
    work: Work[T, R],
    line: "Queue[T | None]",
    done: "Queue[tuple[int, R] | str | None]",
) -> None:
    """Run one worker: take items until the end, send each result as it is made."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    try:
        device = torch.device(device_name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        for result in work(device, _taken(line)):
            done.put((number, result))
        done.put(None)
    except Exception as error:  # noqa: BLE001, the process boundary: said where it is awaited
        done.put(f"{type(error).__name__}: {error}")
