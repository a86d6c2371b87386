"""Sampling picks the frame on screen."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.video.decode import Frame, decode_range
from engine.video.gop import index_gops
from engine.video.sample import get_frames_at, sample_frames, sample_times


def frames_at(times: list[float]) -> list[Frame]:
    return [Frame(seconds, "P", key=False, corrupt=False, raw=None) for seconds in times]


@given(
    steps=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=30),
    fps=st.sampled_from([0.5, 1, 2, 2.5, 10]),
    start=st.floats(-1, 10),
)
def test_each_instant_shows_the_last_frame_before_it(steps, fps, start) -> None:
    times = [start]
    for step in steps:
        times.append(times[-1] + step)
    stop = times[-1] + steps[-1]
    instants = sample_times(start, stop, fps)
    picked = {f.number: f.seconds for f in sample_frames(frames_at(times), instants)}
    shown = None
    for number, seconds in enumerate(instants):
        expected = max(t for t in times if t <= seconds + 1e-6)
        assert (number in picked) == (expected != shown)
        shown = picked.get(number, shown)
        assert shown == expected


@given(
    cuts=st.lists(st.integers(1, 59), max_size=5, unique=True),
    fps=st.sampled_from([0.7, 2, 3, 12.5, 25, 40]),
)
def test_parts_are_sampled_like_the_whole(cuts, fps) -> None:
    times = [10 + n / 25 for n in range(60)]
    edges = [times[0], *(times[cut] for cut in sorted(cuts)), 10 + 60 / 25]
    whole = sample_frames(frames_at(times), sample_times(edges[0], edges[-1], fps))
    parts = []
    for start, stop in pairwise(edges):
        instants = sample_times(start, stop, fps, origin_seconds=edges[0])
        own = frames_at([seconds for seconds in times if start <= seconds < stop])
        parts += [(f.number, f.seconds) for f in sample_frames(own, instants)]
    assert parts == [(f.number, f.seconds) for f in whole]


def test_exact_rates_pick_exact_frames() -> None:
    times = [n / 30 for n in range(90)]
    picked = sample_frames(frames_at(times), sample_times(0, 3, 10))
    assert [frame.seconds for frame in picked] == times[::3]


def test_nothing_beyond_the_last_instant_is_pulled() -> None:
    @dataclass
    class Pulled:
        count: int = 0

    pulled = Pulled()

    def source():
        for frame in frames_at([n / 10 for n in range(100)]):
            pulled.count += 1
            yield frame

    assert len(list(sample_frames(source(), sample_times(0, 1, 2)))) == 2
    assert pulled.count == 7  # one past the frame on screen at 0.5 s


def test_frames_of_given_seconds(clip, number_on) -> None:
    gops = index_gops(clip)
    wanted = [2.39, 0.0, 1.0, 1.0, 0.55, 99.0, -1.0]
    found = {i: number_on(f.image) for i, f in get_frames_at(clip, wanted, gops=gops)}
    assert found == {0: 59, 1: 0, 2: 25, 3: 25, 4: 13, 5: 59}


def test_stored_times_find_their_frames(clip) -> None:
    gops = index_gops(clip)
    times = [frame.seconds for frame in decode_range(clip, 0, 99, gops=gops)]
    again = {i: frame.seconds for i, frame in get_frames_at(clip, times, gops=gops)}
    assert again == dict(enumerate(times))


@pytest.mark.parametrize("fps", [0, float("nan"), float("inf"), 1e9])
def test_rate_must_be_positive_and_not_too_high(fps: float) -> None:
    with pytest.raises(UsageError, match=f"fps must be positive and at most 240, got {fps}$"):
        sample_times(0, 1, fps)
