"""How a video is cut into work: stretches, and the tasks that decode them."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from engine.errors import VideoError
from engine.objects.address import Place
from engine.storage.sampling import Sampling
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

    def coarse_number(self, origin_seconds: float) -> int:
        """The stored number of the first frames of its groups of pictures: below zero."""
        return -1 - self.number(origin_seconds)


@dataclass(frozen=True, slots=True)
class Source:
    """A video as it was when it was planned."""

    path: Place
    stamp: tuple[int, int, int]
    video_id: int
    name: str
    gops: tuple[Gop, ...]
    fps: float  # sampled frames per second
    planned: int = 0  # frames to embed that share an audit; 0: each stretch has its own
    coarse: bool = False  # of each group of pictures the first sampled frame alone

    @property
    def origin_seconds(self) -> float:
        """When its first frame is shown: sampling counts from here."""
        return self.gops[0].start_seconds

    @property
    def whole(self) -> "Stretch":
        """All of it."""
        return Stretch(self.gops[0].start_seconds, self.gops[-1].stop_seconds)

    def between(self, start_seconds: float, stop_seconds: float) -> list[Gop]:
        """Return the groups of pictures that have a part in `[start_seconds, stop_seconds)`."""
        first = bisect_right(self.gops, start_seconds + TOLERANCE_SECONDS, key=_stop)
        stop = bisect_left(self.gops, stop_seconds - TOLERANCE_SECONDS, key=_start)
        return list(self.gops[first:stop])

    def check_unchanged(self) -> None:
        """Raise VideoError if the file is no longer the one that was planned."""
        if file_stamp(self.path) != self.stamp:
            raise VideoError(f"{self.path.name} changed while it was read", path=str(self.path))

    @property
    def sampling(self) -> Sampling:
        """What its rows are stored under."""
        return Sampling(self.fps)

    def stored_as(self, part: Stretch) -> tuple[int, float, float]:
        """Return a part's stored number and what it covers: coarsely nothing."""
        start = part.start_seconds
        if self.coarse:
            return part.coarse_number(self.origin_seconds), start, start
        return part.number(self.origin_seconds), start, part.stop_seconds

    def times(self, start_seconds: float, stop_seconds: float) -> Instants:
        """Return the sampling instants of a part."""
        return sample_times(
            start_seconds, stop_seconds, self.fps, origin_seconds=self.origin_seconds
        )

    def first_instants(self, part: Stretch) -> list[int]:
        """Return the number of the first instant in each group of pictures of a part."""
        gops = self.between(part.start_seconds, part.stop_seconds)
        spans = (self.times(gop.start_seconds, gop.stop_seconds) for gop in gops)
        return [each.first for each in spans if len(each)]

    def frames(self, part: Stretch) -> int:
        """Return how many frames of a part are sampled at most: of a held picture there is one."""
        if self.coarse:
            return len(self.first_instants(part))
        found = 0
        for gop in self.between(part.start_seconds, part.stop_seconds):
            start = max(gop.start_seconds, part.start_seconds)
            stop = min(gop.stop_seconds, part.stop_seconds)
            found += min(len(self.times(start, stop)), gop.num_packets)
        return found

    def entry(self, seconds: float) -> Gop:
        """Return the group whose key picture decoding starts at, for an instant."""
        at = gop_at(self.gops, seconds)
        while at and self.gops[at - 1].key_pts == self.gops[at].key_pts:
            at -= 1
        return self.gops[at]


@dataclass(frozen=True, slots=True)
class Task:
    """Stretches that follow each other and are decoded in one pass, from `entry_seconds` on."""

    source: Source
    stretches: tuple[Stretch, ...]
    entry_seconds: float

    @property
    def pictures(self) -> int:
        """How many pictures have to be read for it at most."""
        stop = self.stretches[-1].stop_seconds
        return sum(gop.num_packets for gop in self.source.between(self.entry_seconds, stop))


def cut(gops: Sequence[Gop], fps: float) -> list[Stretch]:
    """Cut a video into stretches: runs of groups of about half a minute; always the same.

    Seconds in which a picture is merely held do not count, so that there is no stretch for them.
    """
    length = min(STRETCH_SECONDS, STRETCH_FRAMES / fps)
    edges, idle = [gops[0].start_seconds], 0.0
    for gop in gops:
        lasts = gop.stop_seconds - gop.start_seconds
        busy = min(lasts, gop.num_packets / fps)
        idle += lasts - busy
        if busy > LONGEST * length:
            pieces = ceil(busy / length)
            inner = [gop.start_seconds + lasts * piece / pieces for piece in range(pieces)]
            edges += inner if gop.start_seconds > edges[-1] else inner[1:]
        elif gop.stop_seconds - edges[-1] - idle < length and gop is not gops[-1]:
            continue
        edges.append(gop.stop_seconds)
        idle = 0.0
    return [Stretch(start, stop) for start, stop in pairwise(edges)]


def cut_coarsely(gops: Sequence[Gop]) -> list[Stretch]:
    """Cut a video into stretches of as many groups of pictures as may be held at once."""
    heads = range(0, len(gops), STRETCH_FRAMES)
    ends = [min(at + STRETCH_FRAMES, len(gops)) - 1 for at in heads]
    return [
        Stretch(gops[at].start_seconds, gops[end].stop_seconds)
        for at, end in zip(heads, ends, strict=True)
    ]


def tasks_for(source: Source, stretches: Sequence[Stretch]) -> list[Task]:
    """Group stretches into tasks: those that lie in one group of pictures share its decoding."""
    tasks: list[Task] = []
    for stretch in stretches:
        entry = source.entry(stretch.start_seconds).start_seconds
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


def _start(gop: Gop) -> float:
    return gop.start_seconds


def _stop(gop: Gop) -> float:
    return gop.stop_seconds
