"""Several GPUs of one host: a process each, work handed out by stretch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.spread import spread
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class RemoteStream(Generic[K]):
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
    worker: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How many lanes a worker has, and frames in a turn of each."""

    lanes: int = 64
    frames: int = 64


def encode_parallel(
    build: Callable[[torch.device], Strategy],
    stretches: Iterable[RemoteStream[K]],
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
    room = room or Room()
    # two turns of work for each worker wait in the line, the others with their maker
    found = spread(_Encoding(build, room), stretches, devices, held=2 * room.lanes)
    for number, finished in found:
        yield replace(finished, worker=number)


@dataclass(frozen=True, slots=True)
class _Encoding:
    """What a worker does."""

    build: Callable[[torch.device], Strategy]
    room: Room

    def __call__(
        self, device: torch.device, stretches: Iterator[RemoteStream[K]]
    ) -> Iterator[Finished[K]]:
        """Encode what is taken; each stretch's result comes when it is whole."""
        room, keys = self.room, dict[int, K]()
        batcher = Batcher(self.build(device), lanes=room.lanes, frames=room.frames, lookahead=1)

        def sources() -> Iterator[StreamSource[int]]:
            for at, stretch in zip(count(), stretches, strict=False):
                keys[at] = stretch.key
                yield StreamSource(at, stretch.open(device), stretch.num_frames)

        for ended in batcher.whole(sources()):
            for at, encoded in ended:
                yield _finish(keys.pop(at), encoded)


def _finish(key: K, encoded: Encoded) -> Finished[K]:
    """Bring a stretch's result to the host; only here does it wait for the device."""
    drift = encoded.drift
    return Finished(
        key=key,
        embeddings=encoded.embeddings.float().cpu().numpy(),
        computed=encoded.computed.cpu().numpy(),
        macs=encoded.macs.cpu().numpy(),
        full=encoded.full.cpu().numpy(),
        drift=None if drift is None else drift.float().cpu().numpy(),
    )
