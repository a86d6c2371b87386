"""Groups of pictures: where a video can be entered, and how it is cut into work."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from typing import TypeAlias

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from engine.errors import CorruptVideoError
from engine.objects.address import Place, place_of
from engine.objects.remote import RemoteFile
from engine.video.container import open_video
from engine.video.limits import HELD_SECONDS, MOST_SECONDS

RAW_FPS = 25  # of a stream that has no times and names no rate, as libav assumes
DENSE_KEYS = 8  # fewer packets per key picture than this: reading all is cheaper than seeking
HEAD_BYTES = 4096  # of a packet, that tell how its picture is coded
FAR_BYTES = 256 << 10  # from one key picture to the next: then reading on costs more than asking
VideoPacket: TypeAlias = "Packet[VideoStream]"


@dataclass(frozen=True, slots=True)
class Gop:
    """The part of the timeline from one key picture to the next: the unit of decoding.

    The groups of a video follow each other without gap or overlap. The first starts with the first
    picture shown, which need not be its key picture; the last ends where its last picture does.
    A picture on screen for `HELD_SECONDS` or longer is a group by itself, and so is what follows
    it, entered by the same key picture: so no group is long for what nobody drew.
    """

    index: int
    start_seconds: float
    stop_seconds: float
    num_packets: int
    key_pts: int  # in the stream's time base


_Group: TypeAlias = tuple[tuple[int, int], int, int]  # from and to, packets, time of its key


@dataclass(slots=True)
class _Timeline:
    """What reading packets has shown so far; times in the stream's time base."""

    step: int
    keys: list[int] = field(default_factory=list)  # rising
    counts: list[int] = field(default_factory=list)  # packets from each key up to the next
    shown: list[int] = field(default_factory=list)
    first: int | None = None  # of the packets that are shown
    stop: int | None = None
    following: int = 0  # the time of the next packet, if it has none itself

    def add(self, packet: VideoPacket) -> None:
        """Take in the next packet in decoding order."""
        pts = packet_pts(packet)
        pts = self.following if pts is None else pts
        self.following = pts + self.step
        if not self.keys or (packet.is_keyframe and pts > self.keys[-1]):
            self.keys.append(pts)
            self.counts.append(0)
        self.counts[-1] += 1
        self.widen(pts, packet)

    def widen(self, pts: int, packet: VideoPacket) -> None:
        """Make the timeline cover a packet, if it is shown."""
        if packet.is_discard:
            return
        self.shown.append(pts)
        stop = pts + max(packet.duration or self.step, 1)
        self.first = pts if self.first is None else min(self.first, pts)
        self.stop = stop if self.stop is None else max(self.stop, stop)

    def cut(self, num: int, den: int) -> list[Gop]:
        """Return the groups; keys at or before the first picture shown open the first one."""
        if self.first is None or self.stop is None:
            return []
        opening = max(sum(key <= self.first for key in self.keys), 1)
        keys = self.keys[opening - 1 :]
        counts = [sum(self.counts[:opening]), *self.counts[opening:]]
        groups = list(zip(pairwise([self.first, *keys[1:], self.stop]), counts, keys, strict=True))
        if held := self._held(HELD_SECONDS * den / num):
            groups = list(self._split(groups, held))
        return [
            Gop(index, start * num / den, stop * num / den, count, key)
            for index, ((start, stop), count, key) in enumerate(groups)
        ]

    def _held(self, least: float) -> list[int]:
        """Return where pictures begin and end that stay on screen for at least so long."""
        assert self.stop is not None
        self.shown.sort()
        pairs = pairwise([*self.shown, self.stop])
        return sorted(
            {edge for start, stop in pairs if stop - start >= least for edge in (start, stop)}
        )

    def _split(self, groups: list[_Group], edges: list[int]) -> Iterator[_Group]:
        """Cut groups at these times; a part has the packets that are shown in it."""
        for (start, stop), count, key in groups:
            inner = edges[bisect_right(edges, start) : bisect_left(edges, stop)]
            left = count
            parts = list(pairwise([start, *inner, stop]))
            for one, two in parts[1:]:
                left -= bisect_left(self.shown, two) - bisect_left(self.shown, one)
            yield parts[0], max(left, 1), key
            for one, two in parts[1:]:
                own = bisect_left(self.shown, two) - bisect_left(self.shown, one)
                yield (one, two), own, key


def index_gops(path: str | Place) -> list[Gop]:
    """Return the groups of pictures of a video, without decoding.

    They come from the container's index where it lists every picture, and from reading all packets
    where it does not. What lies more than `MOST_SECONDS` after the first picture is left out.
    """
    with open_video(path) as (container, stream):
        num, den = time_base(stream)
        timeline = _from_index(container, stream)
    if timeline is None:
        with open_video(path) as (container, stream):
            timeline = _Timeline(raw_step(stream))
            for packet in packets_of(container, stream):
                timeline.add(packet)
    gops = timeline.cut(num, den)
    if not gops:
        raise CorruptVideoError(f"{place_of(path).name} has no pictures", path=str(path))
    end = gops[0].start_seconds + MOST_SECONDS
    return [
        replace(gop, stop_seconds=min(gop.stop_seconds, end))
        for gop in gops
        if gop.start_seconds < end
    ]


def gop_at(gops: Sequence[Gop], seconds: float) -> int:
    """Return the index of the group on screen at an instant; the nearest one outside the video."""
    return max(bisect_right(gops, seconds, key=lambda gop: gop.start_seconds) - 1, 0)


def time_base(stream: VideoStream) -> tuple[int, int]:
    """Return a stream's unit of time as numerator and denominator."""
    base = stream.time_base or Fraction(1, av.time_base)
    return base.numerator, base.denominator


def packet_pts(packet: VideoPacket) -> int | None:
    """Return when a packet is shown; its decoding time where the container has no other."""
    return packet.dts if packet.pts is None else packet.pts


def raw_step(stream: VideoStream) -> int:
    """Return the time between two pictures of a stream without times, in its time base."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(RAW_FPS)
    num, den = time_base(stream)
    return max(round(den / (num * rate)), 1)


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """Read packets from where the container stands, to the end or to where the file breaks off.

    An `IndexError` is what a transport stream gives whose programme changes under way.
    """
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except (av.FFmpegError, IndexError):
        return


def _read_little(container: InputContainer, stream: VideoStream, places: Sequence[int]) -> None:
    """Of an object elsewhere read what `_from_index` looks at, where that is little of it.

    When a key picture is shown stands in the container's own tables, and how its codec is coded at
    the beginning of its packet; of the first and the last group all packets are looked at.
    """
    file = container.file.file if container.file is not None else None
    if not isinstance(file, RemoteFile) or "mp4" not in container.format.name:
        return
    if file.known.size < len(places) * FAR_BYTES:
        return
    index = stream.index_entries
    whole = {*range(places[1] if len(places) > 1 else len(index)), *range(places[-1], len(index))}
    heads = ((index[at].pos, index[at].pos + min(index[at].size, HEAD_BYTES)) for at in places)
    file.show_only([*heads, *((index[at].pos, index[at].pos + index[at].size) for at in whole)])


def _from_index(container: InputContainer, stream: VideoStream) -> _Timeline | None:
    """Return the timeline by a complete index and the packets of its key pictures, else None.

    The index knows decoding times alone; when a key picture is shown stands in its packet. Where it
    has a picture that is held, all packets have to be read.
    """
    index = stream.index_entries
    if not stream.frames or len(index) != stream.frames:
        return None
    num, den = time_base(stream)
    stamps = [entry.timestamp for entry in index]
    if any((two - one) * num >= HELD_SECONDS * den for one, two in pairwise(stamps)):
        return None
    places = [place for place, entry in enumerate(index) if entry.is_keyframe]
    if not places or places[0] or len(places) * DENSE_KEYS > len(index):
        return None
    _read_little(container, stream, places)
    sizes = [stop - start for start, stop in pairwise([*places, len(index)])]
    timeline, delay = _Timeline(raw_step(stream)), 0
    for run, (place, size) in enumerate(zip(places, sizes, strict=True)):
        key_dts = stamps[place]
        if run:
            # asked for by the time at which it should be shown, or the one before it is found
            container.seek(key_dts + delay, stream=stream)
        # the first and the last group hold the first and the last picture shown
        wanted = size if run in (0, len(places) - 1) else 1
        packets = list(islice(packets_of(container, stream), wanted))
        if len(packets) < wanted or not packets[0].is_keyframe or packets[0].dts != key_dts:
            return None
        for packet in packets:
            timeline.add(packet)
        delay = timeline.keys[0] - stamps[0]
        if len(timeline.keys) != run + 1:
            return None
        timeline.counts[-1] = size
    return timeline
