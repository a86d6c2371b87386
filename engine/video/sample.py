"""Which frames are looked at: those on screen at evenly spaced instants."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from math import ceil

from engine.errors import UsageError
from engine.objects.address import Place
from engine.video.decode import Frame, decode_range
from engine.video.gop import Gop, gop_at
from engine.video.limits import MOST_FPS
from engine.video.skip import CLOCK_SECONDS


@dataclass(frozen=True, slots=True)
class Instants:
    """Instants `origin + n / fps` for `n` in `[first, stop)`; `n` numbers the sampled frame."""

    origin_seconds: float
    fps: float
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    def __iter__(self) -> Iterator[float]:
        return (self.seconds(number) for number in range(self.first, self.stop))

    def seconds(self, number: int) -> float:
        """Return the time of instant `number`."""
        return self.origin_seconds + number / self.fps

    def any_in(self, start_seconds: float, stop_seconds: float) -> bool:
        """Whether an instant lies in `[start_seconds, stop_seconds)`."""
        number = max(self.first, ceil((start_seconds - self.origin_seconds) * self.fps))
        return number < self.stop and self.seconds(number) < stop_seconds

    def at_or_after(self, seconds: float, least: int) -> int:
        """Return the first instant, from number `least` on, at which a frame of a time is shown.

        It takes no longer where that is far away.
        """
        number = max(
            least, min(ceil((seconds - CLOCK_SECONDS - self.origin_seconds) * self.fps), self.stop)
        )
        while number > least and self.seconds(number - 1) + CLOCK_SECONDS >= seconds:
            number -= 1  # one of the two ways to work it out was rounded
        while number < self.stop and self.seconds(number) + CLOCK_SECONDS < seconds:
            number += 1
        return number


def check_fps(fps: float) -> None:
    """Refuse a rate that nobody can sample at, not-a-number among them."""
    if not 0 < fps <= MOST_FPS:
        raise UsageError(f"fps must be positive and at most {MOST_FPS}, got {fps}")


def sample_times(
    start_seconds: float, stop_seconds: float, fps: float, *, origin_seconds: float | None = None
) -> Instants:
    """Return the instants in `[start_seconds, stop_seconds)`, counted from the origin.

    The origin is the start unless given: the parts of a video are sampled like the whole of it
    when all of them count from the video's first frame.
    """
    check_fps(fps)
    origin = start_seconds if origin_seconds is None else origin_seconds
    first, stop = (
        ceil((edge - CLOCK_SECONDS - origin) * fps) for edge in (start_seconds, stop_seconds)
    )
    return Instants(origin, fps, first, max(first, stop))


def sample_frames(frames: Iterable[Frame], times: Instants) -> Iterator[Frame]:
    """Yield the frame on screen at each instant, numbered by it.

    A frame that stays on screen for several instants is yielded once, at the first of them;
    instants before the first frame have none.
    """
    number, held = times.first, None
    for frame in frames:
        following = times.at_or_after(frame.seconds, number)
        if held is not None and following > number:
            yield replace(held, number=number)
        number, held = following, frame
        if number >= times.stop:
            return
    if held is not None and number < times.stop:
        yield replace(held, number=number)


def get_frames_at(
    path: str | Place, seconds: Sequence[float], *, gops: Sequence[Gop], threads: int = 1
) -> Iterator[tuple[int, Frame]]:
    """Yield `(i, frame)` for the frame on screen at each `seconds[i]`, in order of time.

    Each group of pictures is decoded once, up to the last instant asked of it; instants for which
    nothing could be decoded are left out.
    """

    def group(place: int) -> Gop:
        return gops[gop_at(gops, seconds[place] + CLOCK_SECONDS)]

    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    for _, places in groupby(order, lambda place: group(place).key_pts):
        wanted = list(places)
        first, last = group(wanted[0]), group(wanted[-1])
        times = [seconds[place] for place in wanted]
        frames = decode_range(
            path, first.start_seconds, last.stop_seconds, gops=gops, threads=threads,
            looked=partial(any_in, times),
        )  # fmt: skip
        shown = _on_screen(frames, times)
        for place, frame in zip(wanted, shown, strict=True):
            if frame is not None:
                yield place, frame


def any_in(times: Sequence[float], start_seconds: float, stop_seconds: float) -> bool:
    """Whether one of rising times lies in `[start_seconds, stop_seconds)`."""
    at = bisect_left(times, start_seconds)
    return at < len(times) and times[at] < stop_seconds


def _on_screen(frames: Iterable[Frame], times: Iterable[float]) -> Iterator[Frame | None]:
    """Yield for each of rising times the last frame that does not come after it."""
    coming = iter(frames)
    held, following = None, next(coming, None)
    for seconds in times:
        while following is not None and following.seconds <= seconds + CLOCK_SECONDS:
            held, following = following, next(coming, None)
        yield held
