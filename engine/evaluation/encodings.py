"""Videos as vectors, by any strategy, with what it cost."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.vision.reusevit.strategy import cue_side
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, reuse_rate
from engine.world.ahead import render_ahead
from engine.world.clip import make_pool
from engine.world.render import instants, render_sampled
from engine.world.scene import Clip
from engine.world.splits import Split


@dataclass(frozen=True, slots=True)
class Pixels:
    """A video's sampled frames, ready for a tower."""

    name: str
    pixels: Tensor  # uint8 [F, 3, S, S]
    seconds: NDArray[np.float64]  # [F]
    duration_seconds: float
    cues: Tensor | None = None  # [F, C, side, side], of the codec, where a strategy wants them


@dataclass(frozen=True, slots=True)
class Vectors:
    """A video's frames as unit vectors."""

    seconds: NDArray[np.float64]  # [F]
    frames: NDArray[np.float32]  # [F, E]
    duration_seconds: float
    macs: float = 0.0  # multiply-accumulates done for all frames
    scales: NDArray[np.float32] | None = None  # [F], lengths before they were made unit vectors

    @property
    def lengths(self) -> NDArray[np.float32]:
        """How long each frame's vector was as the tower gave it, `[F]`; one where not known."""
        return np.ones(len(self.frames), np.float32) if self.scales is None else self.scales

    @property
    def mean(self) -> NDArray[np.float32]:
        """The video as one unit vector."""
        total = self.frames.mean(0)
        unit: NDArray[np.float32] = total / np.linalg.norm(total)
        return unit


@dataclass(frozen=True, slots=True)
class TimedTurn:
    """What one call of the encoder took, over the videos that went through it side by side."""

    wall_seconds: float
    cpu_seconds: float  # of all threads of this process


@dataclass(slots=True)
class Encodings:
    """All videos' vectors by one strategy."""

    strategy: str
    videos: dict[str, Vectors] = field(default_factory=dict)
    turns: list[TimedTurn] = field(default_factory=list)
    reused: float = 0.0  # sum of the frames' reuse rates
    num_frames: int = 0

    def add(self, other: "Encodings") -> None:
        """Take in what another process encoded: other videos by the same strategy."""
        self.videos |= other.videos
        self.turns += other.turns
        self.reused += other.reused
        self.num_frames += other.num_frames

    @property
    def macs_per_frame(self) -> float:
        """Multiply-accumulates done, per frame."""
        return sum(each.macs for each in self.videos.values()) / self.num_frames

    @property
    def reuse(self) -> float:
        """Mean reuse rate of all frames."""
        return self.reused / self.num_frames

    @property
    def seconds_per_frame(self) -> float:
        """Wall-clock of the encoder alone, per frame."""
        return sum(turn.wall_seconds for turn in self.turns) / self.num_frames

    @property
    def cpu_seconds_per_frame(self) -> float:
        """Processor time of the encoder alone, per frame."""
        return sum(turn.cpu_seconds for turn in self.turns) / self.num_frames


@dataclass(frozen=True, slots=True)
class Drift:
    """How far vectors are from dense ones: one minus cosine, over all frames."""

    mean: float
    p95: float
    worst: float


def encode(
    strategy: Strategy,
    videos: Iterable[Pixels],
    *,
    streams: int = 8,
    into: Encodings | None = None,
) -> Encodings:
    """Encode each video as one stream, `streams` of them side by side; `into` adds to a result."""
    found = Encodings(strategy.name) if into is None else into
    waiting, wanted = iter(videos), cue_side([strategy]) is not None
    while batch := list(islice(waiting, streams)):
        chunks = [
            Chunk(video.pixels, last=True, cues=video.cues if wanted else None) for video in batch
        ]
        start, used = time.perf_counter(), time.process_time()
        results = strategy.encode(chunks)
        given = [result.embeddings.float() for result in results]
        vectors = [F.normalize(each, dim=-1).cpu() for each in given]
        found.turns.append(TimedTurn(time.perf_counter() - start, time.process_time() - used))
        for at, (video, result) in enumerate(zip(batch, results, strict=True)):
            found.videos[video.name] = Vectors(
                video.seconds,
                vectors[at].numpy(),
                video.duration_seconds,
                float(result.macs.sum()),
                given[at].norm(dim=-1).cpu().numpy(),
            )
            _count(found, result, strategy)
    return found


def drift(encodings: Encodings, dense: Encodings) -> Drift:
    """Compare with dense vectors of the same videos."""
    cosines = np.concatenate(
        [(vectors.frames * dense.videos[name].frames).sum(1) for name, vectors in
         encodings.videos.items()]
    )  # fmt: skip
    lost = 1 - cosines.astype(np.float64)
    return Drift(float(lost.mean()), float(np.quantile(lost, 0.95)), float(lost.max()))


def render_pool(
    split: Split, clips: int, seed: int, *, fps: float = 2.0, size: int = 224, workers: int = 2
) -> Iterator[tuple[Clip, Pixels]]:
    """Make up a pool of clips with distinct captions, and their frames before any coding."""
    yield from render_clips(make_pool(split, clips, seed), fps=fps, size=size, workers=workers)


def render_clips(
    made: Iterable[Clip], *, fps: float = 2.0, size: int = 224, workers: int = 2
) -> Iterator[tuple[Clip, Pixels]]:
    """Render clips on so many processes, in order; without any in this one."""
    for clip, planes in render_ahead(made, fps=fps, size=size, workers=workers):
        yield clip, _pixels(clip, fps, planes)


def render_clip(clip: Clip, fps: float = 2.0, size: int = 224) -> Pixels:
    """Render a clip's frames at instants `0, 1 / fps, …`."""
    return _pixels(clip, fps, render_sampled(clip, fps, size))


def _pixels(clip: Clip, fps: float, planes: NDArray[np.uint8]) -> Pixels:
    return Pixels(clip.name, torch.from_numpy(planes), instants(clip, fps), clip.duration_seconds)


def _count(found: Encodings, result: Encoded, strategy: Strategy) -> None:
    found.reused += float(reuse_rate(result, strategy.tower).sum())
    found.num_frames += len(result.embeddings)


def stack_means(encodings: Encodings, names: Sequence[str]) -> NDArray[np.float32]:
    """Videos as one unit vector each, `[V, E]`, in the order of `names`."""
    return np.stack([encodings.videos[name].mean for name in names])
