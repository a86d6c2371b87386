"""Training clips: rendered in worker processes, kept in a ring on the training device."""

import multiprocessing
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from engine.errors import ModelError
from engine.vision.training.texts import encode
from engine.world import Clip, make_clip
from engine.world.captions import tell_moment
from engine.world.draw import Draw
from engine.world.labels import KINDS, label_patches
from engine.world.phrases import PHRASES, make_phrases
from engine.world.render import render_planes
from engine.world.scene import TICKS

SPREAD = 3  # frames spread over the clip, one in each third
SETS = 2  # questions or phrases a clip, each with a frame of its own from a span that answers it
FRAMES = SPREAD + SETS
PATCH = 16
IDLE = 600  # seconds after which a worker that nobody asks for clips ends
TEXTS = 1 + FRAMES + SETS * PHRASES  # the caption, one for each frame, and the sets, truth first


@dataclass(frozen=True, slots=True)
class Batch:
    """The clips of one step."""

    pixels: Tensor  # uint8 [B, FRAMES, 3, S, S]
    ids: Tensor  # int16 [B, TEXTS, context]
    inside: Tensor  # bool [B, SETS, FRAMES], whether a frame lies in a span that answers the set
    labels: Tensor  # uint8 [B, FRAMES, KINDS, patches], what each patch shows; 0 is the backdrop


def make_texts(seed: int, clip: Clip) -> tuple[list[int], list[str], npt.NDArray[np.bool_]]:
    """Ticks of a clip's frames, its texts, and which frames answer which set."""
    draw, script = Draw("sample", seed), clip.script
    third = script.duration // SPREAD
    ticks = [part * third + draw.below(third) for part in range(SPREAD)]
    sets: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    questions = draw.sample(clip.questions, len(clip.questions))
    while len(spans) < SETS:
        tick = draw.below(script.duration)
        phrases = make_phrases(script.shot_at(tick), tick, draw)
        if questions and (phrases is None or draw.chance(65)):
            question = questions.pop()
            right = question.choices[question.answer]
            wrong = [choice for choice in question.choices if choice != right]
            sets += [f"{question.text} {choice}" for choice in (right, *wrong)]
            spans.append([(round(a * TICKS), round(b * TICKS)) for a, b in question.spans])
            start, stop = draw.choice(spans[-1])
            ticks.append(start + draw.below(max(stop - start, 1)))
        elif phrases is not None:
            sets += phrases.texts
            spans.append([(phrases.start, phrases.stop)])
            ticks.append(tick)
    inside = np.array([[any(a <= t < b for a, b in times) for t in ticks] for times in spans])
    moments = [
        tell_moment(script.shot_at(tick), tick, draw if draw.chance(50) else None) for tick in ticks
    ]
    return ticks, [clip.caption, *moments, *sets], inside


def render_chunk(
    seeds: range, tokenizer: Tokenizer, size: int, context: int
) -> tuple[npt.NDArray[Any], ...]:
    """A batch's arrays for the training clips of some seeds; frames are without noise."""
    side = size // PATCH
    pixels = np.empty((len(seeds), FRAMES, 3, size, size), dtype=np.uint8)
    labels = np.empty((len(seeds), FRAMES, len(KINDS), side * side), dtype=np.uint8)
    marks = np.empty((len(seeds), SETS, FRAMES), dtype=bool)
    texts: list[str] = []
    for row, seed in enumerate(seeds):
        clip = make_clip(seed, "train")
        ticks, told, marks[row] = make_texts(seed, clip)
        texts += told
        quiet = replace(clip.script, noise=0)
        for column, tick in enumerate(ticks):
            pixels[row, column] = render_planes(quiet, tick, size)
            labels[row, column] = label_patches(clip.script, tick, side)
    ids = encode(tokenizer, texts, context).reshape(len(seeds), TEXTS, context)
    return pixels, ids, marks, labels


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker needs; worker `index` of `workers` takes every so many-th chunk of seeds."""

    index: int
    workers: int
    seed: int
    clips: int  # of one chunk
    tokenizer: str  # JSON
    size: int
    context: int
    folder: str


def _buffers(work: Work) -> tuple[npt.NDArray[Any], ...]:
    """A worker's two slots for chunks, in files that both sides map."""
    shapes = {
        "pixels": ((2, work.clips, FRAMES, 3, work.size, work.size), np.uint8),
        "ids": ((2, work.clips, TEXTS, work.context), np.int16),
        "inside": ((2, work.clips, SETS, FRAMES), np.bool_),
        "labels": ((2, work.clips, FRAMES, len(KINDS), (work.size // PATCH) ** 2), np.uint8),
    }
    paths = {name: Path(work.folder) / f"{name}-{work.index}" for name in shapes}
    return tuple(
        np.memmap(paths[name], dtype, "r+" if paths[name].exists() else "w+", shape=shape)
        for name, (shape, dtype) in shapes.items()
    )


def _produce(work: Work, free: "Queue[int]", ready: "Queue[tuple[int, int]]") -> None:
    """Render chunk after chunk into the free slots."""
    tokenizer = Tokenizer.from_str(work.tokenizer)
    buffers = _buffers(work)
    number = work.index
    while True:
        slot = free.get(timeout=IDLE)
        first = work.seed + number * work.clips
        parts = render_chunk(range(first, first + work.clips), tokenizer, work.size, work.context)
        for buffer, part in zip(buffers, parts, strict=True):
            buffer[slot] = part
        ready.put((work.index, slot))
        number += work.workers


class Ring:
    """The clips rendered last, on the training device; each is drawn several times."""

    def __init__(
        self, clips: int, tokenizer: Tokenizer, size: int, context: int, device: torch.device
    ) -> None:
        self.rendered = 0
        self._shape = (tokenizer.to_str(), size, context)
        self._device = device
        self._kept = (
            torch.empty((clips, FRAMES, 3, size, size), dtype=torch.uint8, device=device),
            torch.empty((clips, TEXTS, context), dtype=torch.int16, device=device),
            torch.empty((clips, SETS, FRAMES), dtype=torch.bool, device=device),
            torch.empty(
                (clips, FRAMES, len(KINDS), (size // PATCH) ** 2), dtype=torch.uint8, device=device
            ),
        )

    def start(self, workers: int, chunk: int, seed: int) -> None:
        """Start rendering in `workers` processes."""
        context = multiprocessing.get_context("spawn")
        self._folder = TemporaryDirectory()
        self._chunk = chunk
        self._ready: Queue[tuple[int, int]] = context.Queue()
        self._free: list[Queue[int]] = [context.Queue() for _ in range(workers)]
        text, size, length = self._shape
        works = [
            Work(index, workers, seed, chunk, text, size, length, self._folder.name)
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
                    kept[start:stop] = torch.from_numpy(buffer[slot, : stop - start])
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

    def batch(self, rows: Tensor, *, pixels: bool = True) -> Batch:
        """Return clips by their rows, with an empty tensor for pixels that are not asked for."""
        first = self._kept[0][rows] if pixels else self._kept[0][:0]
        return Batch(first, *(kept[rows] for kept in self._kept[1:]))

    def draw(self, clips: int, generator: torch.Generator) -> Batch:
        """Draw different clips at random."""
        return self.batch(self.pick(clips, generator, self.rendered))

    def close(self) -> None:
        """Stop the workers."""
        self._stop.set()
        self._pump.join()
        for process in self._processes:
            process.terminate()
            process.join()
        del self._buffers
        self._folder.cleanup()
