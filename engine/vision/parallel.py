"""Several GPUs of one host: a process each, work handed out by stretch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from queue import Empty
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import ExecutionError, UsageError
from engine.vision.strategies.base import Chunk, Encoded, Strategy
from engine.vision.streams import Batcher, Source

K = TypeVar("K")
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stretch(Generic[K]):
    """A stream for a worker to open: `open` and `key` are pickled and run there."""

    key: K
    open: Callable[[torch.device], Iterable[Chunk]]
    num_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Finished(Generic[K]):
    """What one stretch gave, frame by frame, as plain arrays: tensors are not worth sharing."""

    key: K
    embeddings: NDArray[np.float32]  # [F, E], projected, not normalised
    computed: NDArray[np.int32]  # [F, L]
    macs: NDArray[np.float64]  # [F]
    full: NDArray[np.bool_]  # [F]
    drift: NDArray[np.float32] | None  # [F]
    worker: int


@dataclass(frozen=True, slots=True)
class Room:
    """How many lanes a worker has, and frames in a turn of each."""

    lanes: int = 64
    frames: int = 32


def encode_parallel(
    build: Callable[[torch.device], Strategy],
    stretches: Iterable[Stretch[K]],
    devices: list[str],
    room: Room | None = None,
) -> Iterator[Finished[K]]:
    """Encode stretches on all devices; which one takes a stretch changes nothing in its result.

    Args:
        build: makes the strategy in the worker, on its device; pickled.
        stretches: handed out as lanes become free, so a slow device gets fewer.
        devices: such as `cuda:0`; one process for each.
        room: of each worker.
    """
    if not devices:
        raise UsageError("devices must name one or more, got none; allowed: cuda:0, cpu, …")
    context = get_context("spawn")
    room = room or Room()
    # two turns of work for each worker wait in the queue, the others with their maker
    work: Queue[Stretch[K] | None] = context.Queue(2 * room.lanes * len(devices))
    done: Queue[Finished[K] | str | None] = context.Queue()
    workers = [
        context.Process(target=_serve, args=(at, device, build, room, work, done), daemon=True)
        for at, device in enumerate(devices)
    ]
    for worker in workers:
        worker.start()
    try:
        yield from _collect(workers, iter(stretches), work, done)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()


def _collect(
    workers: list[SpawnProcess],
    stretches: Iterator[Stretch[K]],
    work: "Queue[Stretch[K] | None]",
    done: "Queue[Finished[K] | str | None]",
) -> Iterator[Finished[K]]:
    """Hand out, and pass on what comes back, until every worker has said that it is done."""
    running, held, exhausted = len(workers), None, False
    ends = len(workers)
    while running:
        while ends:
            if held is None and not exhausted:
                held = next(stretches, None)
                exhausted = held is None
            if not work.full() and (held is not None or exhausted):
                work.put(held)
                ends -= held is None
                held = None
            else:
                break
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


def _serve(
    number: int,
    device_name: str,
    build: Callable[[torch.device], Strategy],
    room: Room,
    work: "Queue[Stretch[K] | None]",
    done: "Queue[Finished[K] | str | None]",
) -> None:
    """Run one worker: take stretches until the end, send each one's result when it is whole."""
    try:
        device = torch.device(device_name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        batcher = Batcher(build(device), lanes=room.lanes, frames=room.frames, lookahead=1)
        parts: dict[int, list[Encoded]] = {}
        keys: dict[int, K] = {}

        def sources() -> Iterator[Source[int]]:
            for at in count():
                if (stretch := work.get()) is None:
                    return
                keys[at] = stretch.key
                yield Source(at, stretch.open(device), stretch.num_frames)

        ended: list[int] = []
        turn = 0
        for part in batcher.run(sources()):
            if batcher.turns > turn:
                # the host reads a turn's results while the device works on the next one
                turn = batcher.turns
                for at in ended:
                    done.put(_finish(keys.pop(at), parts.pop(at), number))
                ended.clear()
            parts.setdefault(part.key, []).append(part.encoded)
            if part.last:
                ended.append(part.key)
        for at in ended:
            done.put(_finish(keys.pop(at), parts.pop(at), number))
        done.put(None)
    except Exception as error:  # noqa: BLE001, the process boundary: said where it is awaited
        done.put(f"{type(error).__name__}: {error}")


def _finish(key: K, parts: list[Encoded], worker: int) -> Finished[K]:
    """Join a stretch's parts on the host; only here does it wait for the device."""
    drifts = [part.drift for part in parts if part.drift is not None]
    return Finished(
        key=key,
        embeddings=torch.cat([part.embeddings for part in parts]).float().cpu().numpy(),
        computed=torch.cat([part.computed for part in parts]).cpu().numpy(),
        macs=torch.cat([part.macs for part in parts]).cpu().numpy(),
        full=torch.cat([part.full for part in parts]).cpu().numpy(),
        drift=torch.cat(drifts).float().cpu().numpy() if len(drifts) == len(parts) else None,
        worker=worker,
    )
