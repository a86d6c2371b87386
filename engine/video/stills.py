"""Pictures at many instants of one video, for the price of few: what a contact strip shows."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import CorruptVideoError
from engine.objects.address import Place
from engine.video.decode import Frame, decode_range
from engine.video.gop import Gop, gop_at
from engine.video.skip import CLOCK_SECONDS

Image = NDArray[np.uint8]
_MOST_DECODED = 4000  # pictures; beyond them a group shows its first one alone


def stills(
    path: str | Place, instants: Sequence[float], *, gops: Sequence[Gop]
) -> Iterator[tuple[int, Image]]:
    """Yield rising instants' numbers with what is shown at them, `[H, W, 3]`.

    A group of pictures with several instants in it is decoded once; one with a single instant, or
    beyond what may be decoded, shows its first picture. What cannot be decoded is left out.
    """
    left = _MOST_DECODED
    for group, numbers in _by_group(instants, gops):
        gop = gops[group]
        times = [instants[number] for number in numbers]
        if len(numbers) == 1 or gop.num_packets > left:
            times = [gop.start_seconds] * len(numbers)
        else:
            left -= gop.num_packets
        try:
            shown = list(_shown_at(path, gop, times, gops))
        except CorruptVideoError:
            continue
        yield from zip(numbers, shown, strict=False)


def _by_group(instants: Sequence[float], gops: Sequence[Gop]) -> Iterator[tuple[int, list[int]]]:
    """Yield each group of pictures that instants lie in, with their numbers."""
    numbers: dict[int, list[int]] = {}
    for number, seconds in enumerate(instants):
        numbers.setdefault(gop_at(gops, seconds), []).append(number)
    yield from numbers.items()


def _shown_at(
    path: str | Place, gop: Gop, times: Sequence[float], gops: Sequence[Gop]
) -> Iterator[Image]:
    """Yield what is on screen at rising times of one group; its first picture before that."""
    waiting = list(times)
    shown: Frame | None = None
    for frame in decode_range(path, gop.start_seconds, gop.stop_seconds, gops=gops):
        while waiting and shown is not None and frame.seconds > waiting[0] + CLOCK_SECONDS:
            waiting.pop(0)
            yield shown.image
        if not waiting:
            return
        shown = frame
    if shown is not None:
        yield from [shown.image] * len(waiting)
