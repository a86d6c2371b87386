"""How a video is cut into work: stretches, and the tasks that decode them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

from engine.errors import VideoError
from engine.video.container import file_stamp
from engine.video.gop import Gop, gop_at
from engine.video.sample import Instants, sample_times

STRETCH_SECONDS = 32.0
STRETCH_FRAMES = 512  # sampled frames that a stretch should not grow beyond
LONGEST = 4  # a group of pictures this many stretches long is cut inside
TOLERANCE_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of one video that is encoded as one stream and committed as one Parquet part.

    It starts and ends with a group of pictures, unless a group is too long to be held at once.
    """

    start_seconds: float
    stop_seconds: float

    def number(self, origin_seconds: float) -> int:
        """Its stored number: milliseconds from the first frame, so that any cut has its own."""
        return round((self.start_seconds - origin_seconds) * 1000)


@dataclass(frozen=True, slots=True)
class Source:
    """A video as it was when it was planned."""

    path: Path
    stamp: tuple[int, int, int]
    video_id: int
    name: str
    gops: tuple[Gop, ...]

    @property
    def origin_seconds(self) -> float:
        """When its first frame is shown: sampling counts from here."""
        return self.gops[0].start_seconds

    def between(self, start_seconds: float, stop_seconds: float) -> list[Gop]:
        """Return the groups of pictures that have a part in `[start_seconds, stop_seconds)`."""
        return [
            gop
            for gop in self.gops
            if gop.start_seconds < stop_seconds - TOLERANCE_SECONDS
            and gop.stop_seconds > start_seconds + TOLERANCE_SECONDS
        ]

    def check_unchanged(self) -> None:
        """Raise VideoError if the file is no longer the one that was planned."""
        if file_stamp(self.path) != self.stamp:
            raise VideoError(f"{self.path.name} changed while it was read", path=str(self.path))

    def times(self, start_seconds: float, stop_seconds: float, fps: float) -> Instants:
        """Return the sampling instants of a part."""
        return sample_times(start_seconds, stop_seconds, fps, origin_seconds=self.origin_seconds)


@dataclass(frozen=True, slots=True)
class Task:
    """Stretches that follow each other and are decoded in one pass, from `entry_seconds` on."""

    source: Source
    stretches: tuple[Stretch, ...]
    entry_seconds: float


def cut(gops: Sequence[Gop], fps: float) -> list[Stretch]:
    """Cut a video into stretches: runs of groups of about half a minute; always the same."""
    length = min(STRETCH_SECONDS, STRETCH_FRAMES / fps)
    edges = [gops[0].start_seconds]
    for gop in gops:
        lasts = gop.stop_seconds - gop.start_seconds
        if lasts > LONGEST * length:
            pieces = ceil(lasts / length)
            inner = [gop.start_seconds + lasts * piece / pieces for piece in range(pieces)]
            edges += inner if gop.start_seconds > edges[-1] else inner[1:]
            edges.append(gop.stop_seconds)
        elif gop.stop_seconds - edges[-1] >= length or gop is gops[-1]:
            edges.append(gop.stop_seconds)
    return [Stretch(start, stop) for start, stop in pairwise(edges)]


def tasks_for(source: Source, stretches: Sequence[Stretch]) -> list[Task]:
    """Group stretches into tasks: those that lie in one group of pictures share its decoding."""
    tasks: list[Task] = []
    for stretch in stretches:
        entry = source.gops[gop_at(source.gops, stretch.start_seconds)].start_seconds
        last = tasks[-1] if tasks else None
        if last and last.entry_seconds == entry:
            tasks[-1] = Task(source, (*last.stretches, stretch), entry)
        else:
            tasks.append(Task(source, (stretch,), entry))
    return tasks


def uncovered(stretches: Sequence[Stretch], covered: Sequence[Stretch]) -> list[Stretch]:
    """Return the parts of `stretches` that no covered one has; both in the order of time."""
    left: list[Stretch] = []
    for stretch in stretches:
        start = stretch.start_seconds
        for done in covered:
            if done.stop_seconds <= start or done.start_seconds >= stretch.stop_seconds:
                continue
            if done.start_seconds > start + TOLERANCE_SECONDS:
                left.append(Stretch(start, done.start_seconds))
            start = max(start, done.stop_seconds)
        if stretch.stop_seconds > start + TOLERANCE_SECONDS:
            left.append(Stretch(start, stretch.stop_seconds))
    return left
