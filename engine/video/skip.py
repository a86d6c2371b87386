"""Pictures that nobody looks at and nothing is built on: they need not be decoded."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from math import inf

from engine.video.gop import VideoPacket, packet_pts

Looked = Callable[[float, float], bool]  # whether anybody looks between two times
REORDERED = 17  # packets by which a picture may come late, and one
SKIPPING = ("h264", "hevc")  # decoders that drop such a picture and change no other
CLOCK_SECONDS = 1e-6  # two times nearer than this are the same
ROUNDING = 1e-8  # seconds, of times worked out in two ways


def skippable(
    packets: Iterator[VideoPacket], looked: Looked, num: int, den: int
) -> Iterator[tuple[VideoPacket, bool]]:
    """Yield packets, and of each whether nobody looks while its picture is on screen.

    A picture is on screen until the next one in order of time, which may come some packets later.
    Where the next one is not among those in sight, somebody looks: the answer errs that way alone.
    """
    waiting: deque[VideoPacket] = deque()
    gone: deque[int] = deque()
    near: list[int] = []  # times of those waiting, and of the last ones gone, in order

    def judged() -> tuple[VideoPacket, bool]:
        packet = waiting.popleft()
        pts = packet_pts(packet)
        if pts is None:
            return packet, False
        at = bisect_right(near, pts)
        gone.append(pts)
        start, stop = pts * num / den, near[at] * num / den if at < len(near) else inf
        if len(gone) > REORDERED:
            del near[bisect_right(near, gone.popleft()) - 1]
        early = CLOCK_SECONDS + ROUNDING
        return packet, not looked(start - early, stop - CLOCK_SECONDS + ROUNDING)

    for packet in packets:
        waiting.append(packet)
        if (pts := packet_pts(packet)) is not None:
            insort(near, pts)
        if len(waiting) > REORDERED:
            yield judged()
    while waiting:
        yield judged()
