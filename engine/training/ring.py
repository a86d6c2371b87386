"""Clips rendered in worker processes, and kept in a ring on the training device."""

import multiprocessing
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.errors import ModelError

IDLE = 600  # seconds after which a worker that nobody asks for clips ends
Arrays = tuple[npt.NDArray[Any], ...]
Shape = tuple[tuple[int, ...], npt.DTypeLike]


class Recipe(Protocol):
    """How clips become arrays; pickled, and followed in worker processes."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """One clip's arrays: their names, shapes and types, in order."""

    def render(self, seeds: range) -> Arrays:
        """Return the arrays of the clips of some seeds, stacked."""


@dataclass(frozen=True, slots=True)
class RingWork:
    """What a worker needs; worker `index` of `workers` takes every so many-th chunk of seeds."""

    index: int
    workers: int
    seed: int
    clips: int  # of one chunk
    recipe: Recipe
    folder: str


def _buffers(work: RingWork) -> Arrays:
    """A worker's two slots for chunks, in files that both sides map."""
    folder = Path(work.folder)
    found = []
    for name, (shape, dtype) in work.recipe.shapes.items():
        path = folder / f"{name}-{work.index}"
        mode = "r+" if path.exists() else "w+"
        found.append(np.memmap(path, dtype, mode, shape=(2, work.clips, *shape)))  # type: ignore[call-overload]
    return tuple(found)


def _produce(work: RingWork, free: "Queue[int]", ready: "Queue[tuple[int, int]]") -> None:
    """Render chunk after chunk into the free slots."""
    buffers = _buffers(work)
    number = work.index
    while True:
        slot = free.get(timeout=IDLE)
        first = work.seed + number * work.clips
        parts = work.recipe.render(range(first, first + work.clips))
        for buffer, part in zip(buffers, parts, strict=True):
            buffer[slot] = part
        ready.put((work.index, slot))
        number += work.workers


class Ring:
    """The clips rendered last, on the training device; each is drawn several times."""

    def __init__(self, clips: int, recipe: Recipe, device: torch.device) -> None:
        self.rendered = 0
        self.recipe = recipe
        self._device = device
        self._kept = tuple(
            torch.from_numpy(np.empty((0, *shape), dtype)).new_empty((clips, *shape), device=device)
            for shape, dtype in recipe.shapes.values()
        )

    def start(self, workers: int, chunk: int, seed: int) -> None:
        """Start rendering in `workers` processes."""
        context = multiprocessing.get_context("spawn")
        self._folder = TemporaryDirectory()
        self._chunk = chunk
        self._ready: Queue[tuple[int, int]] = context.Queue()
        self._free: list[Queue[int]] = [context.Queue() for _ in range(workers)]
        works = [
            RingWork(index, workers, seed, chunk, self.recipe, self._folder.name)
            for index in range(workers)
        ]
        self._buffers = [_buffers(work) for work in works]
        self._processes = [
            context.Process(target=_produce, args=(work, free, self._ready), daemon=True)
            for work, free in zip(works, self._free, strict=True)
        ]
        for process, free in zip(self._processes, self._free, strict=True):
            process.start()
            free.put(0)
            free.put(1)
        self._stop = threading.Event()
        self._pump = threading.Thread(target=self._copy, daemon=True)
        self._pump.start()

    def fill(self, clips: int) -> None:
        """Wait until so many clips have been rendered in all."""
        while self.rendered < clips:
            if not all(process.is_alive() for process in self._processes):
                raise ModelError("a process that renders training clips has died")
            time.sleep(0.05)

    def _copy(self) -> None:
        """Copy chunks to the device beside the training, on a stream of its own there."""
        stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        while not self._stop.is_set():
            try:
                index, slot = self._ready.get(timeout=0.5)
            except Empty:
                continue
            size = len(self._kept[0])
            start = self.rendered % size
            stop = min(start + self._chunk, size)
            with torch.cuda.stream(stream):
                for kept, buffer in zip(self._kept, self._buffers[index], strict=True):
                    part = torch.from_numpy(buffer[slot, : stop - start])
                    # from pinned memory, or the copy would hold up what the training launches
                    part = part if stream is None else part.pin_memory()
                    kept[start:stop].copy_(part, non_blocking=True)
            if stream is not None:
                stream.synchronize()
            self.rendered += stop - start
            self._free[index].put(slot)

    @property
    def size(self) -> int:
        """How many clips are kept at most."""
        return len(self._kept[0])

    def pick(self, clips: int, generator: torch.Generator, rendered: int) -> Tensor:
        """Rows of different clips at random, of the first `rendered`; none being overwritten."""
        count = min(rendered, self.size - 2 * self._chunk)
        rows = rendered - 1 - torch.randperm(count, generator=generator)[:clips]
        return (rows % self.size).to(self._device)

    def take(self, rows: Tensor, first: int = 0) -> Sequence[Tensor]:
        """Return arrays of clips by their rows, in the recipe's order from the `first` on."""
        return [kept[rows] for kept in self._kept[first:]]

    def draw(self, clips: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Draw different clips at random."""
        return self.take(self.pick(clips, generator, self.rendered))

    def close(self) -> None:
        """Stop the workers."""
        self._stop.set()
        self._pump.join()
        for process in self._processes:
            process.terminate()
            process.join()
        del self._buffers
        self._folder.cleanup()
