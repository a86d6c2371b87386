"""Packets that nothing looked at is built on: the rest of a group after its last such picture."""

from bisect import insort
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from engine.video.gop import VideoPacket, packet_pts
from engine.video.skip import CLOCK_SECONDS, REORDERED, ROUNDING, Looked

ENTERING = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d")  # decoders that begin at a key picture
Judged: TypeAlias = "tuple[VideoPacket, bool]"
Needed: TypeAlias = "tuple[VideoPacket | None, bool]"


def needed(
    judged: Iterator[Judged],
    looked: Looked,
    stops: Mapping[int, float],
    until: float,
    num: int,
    den: int,
) -> Iterator[Needed]:
    """Leave out the packets of a group from where on nobody looks at any of its pictures.

    `stops` says when the group of a key picture ends, by the key picture's time; of a group that it
    lacks nothing is left out, nor is the first picture of all, by which one sees whether decoding
    could begin there. After a gap comes `(None, False)`: the decoder begins anew at the key picture
    that follows. What that group shows before its key picture was built on the gap, and is left out
    too; nobody looks at it. Nobody looks `until` or later either: a group that begins then, after a
    gap, and what follows it are not even read.
    """
    key: int | None = None
    stop: float | None = None
    begun, gap, entered = False, False, False  # entered: the group at hand began after a gap
    for packet, unseen, earliest in _with_earliest(judged):
        pts = packet_pts(packet)
        if packet.is_keyframe and pts is not None and (key is None or pts > key):
            if gap and pts * num / den >= until:
                return
            key, stop, entered = pts, stops.get(pts), gap
        elif gap or (entered and pts is not None and key is not None and pts < key):
            continue
        if pts is None:
            stop = None  # who knows when the rest is shown
        ends = None if stop is None else stop - CLOCK_SECONDS + ROUNDING
        since = earliest * num / den - CLOCK_SECONDS - ROUNDING
        if begun and ends is not None and not looked(since, ends):
            gap = True
            continue
        if gap:
            yield None, False
        begun, gap = True, False
        yield packet, unseen


def _with_earliest(judged: Iterator[Judged]) -> Iterator[tuple[VideoPacket, bool, int]]:
    """Add to each the earliest time of it and those in sight, a picture being late by so many."""
    waiting: deque[Judged] = deque()
    near: list[int] = []  # times of those waiting, in order

    def first() -> tuple[VideoPacket, bool, int]:
        packet, unseen = waiting.popleft()
        earliest = near[0] if near else 0
        if (pts := packet_pts(packet)) is not None:
            near.remove(pts)
        return packet, unseen, earliest

    for each in judged:
        waiting.append(each)
        if (pts := packet_pts(each[0])) is not None:
            insort(near, pts)
        if len(waiting) > REORDERED:
            yield first()
    while waiting:
        yield first()
