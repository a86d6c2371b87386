"""Stretches cover a video, and what is stored is not done again."""

from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ingesting.plan import (
    LONGEST,
    STRETCH_SECONDS,
    Source,
    Stretch,
    cut,
    tasks_for,
    uncovered,
)
from engine.video.gop import Gop


def make_gops(
    lengths: list[float], start: float = 0.0, packets: list[int] | None = None
) -> tuple[Gop, ...]:
    """Groups of 30 pictures per second, unless it is said how many there are."""
    edges = [start]
    for length in lengths:
        edges.append(edges[-1] + length)
    counts = packets or [ceil(30 * length) for length in lengths]
    return tuple(
        Gop(index, *pair, count, index)
        for index, (pair, count) in enumerate(zip(pairwise(edges), counts, strict=True))
    )


lengths = st.lists(st.floats(0.04, 300), min_size=1, max_size=60)


@given(lengths, st.sampled_from([0.5, 2, 30]), st.sampled_from([0.0, -0.3, 10.0]))
def test_stretches_cover_the_video(lengths, fps, start) -> None:
    gops = make_gops(lengths, start)
    stretches = cut(gops, fps)
    assert stretches[0].start_seconds == gops[0].start_seconds
    assert stretches[-1].stop_seconds == gops[-1].stop_seconds
    assert all(one.stop_seconds == two.start_seconds for one, two in pairwise(stretches))
    length = min(STRETCH_SECONDS, 512 / fps)
    edges = {gop.start_seconds for gop in gops}
    long = [gop for gop in gops if gop.stop_seconds - gop.start_seconds > LONGEST * length]
    before_long = {gop.start_seconds for gop in long}
    for stretch in stretches:
        span = stretch.stop_seconds - stretch.start_seconds
        assert 0 < span <= (LONGEST + 1) * length + 1e-6
        may_be_short = stretch is stretches[-1] or stretch.stop_seconds in before_long
        assert span > length / 2 or may_be_short
        if stretch.start_seconds not in edges:
            assert any(g.start_seconds < stretch.start_seconds < g.stop_seconds for g in long)
    numbers = [stretch.number(gops[0].start_seconds) for stretch in stretches]
    assert len(set(numbers)) == len(numbers)


@given(
    groups=st.lists(st.tuples(st.floats(0.04, 1e6), st.integers(1, 200)), min_size=1, max_size=60),
    fps=st.sampled_from([0.5, 2, 30, 240]),
)
def test_there_are_no_more_stretches_than_pictures_are_worth(groups, fps) -> None:
    lengths, packets = zip(*groups, strict=True)
    gops = make_gops(list(lengths), packets=list(packets))
    stretches = cut(gops, fps)
    full = min(STRETCH_SECONDS * fps, 512)
    long = sum(count > LONGEST * full for count in packets)
    assert len(stretches) <= 1 + 2 * long + 2 * sum(packets) / full


def test_stretches_of_an_ordinary_video() -> None:
    stretches = cut(make_gops([8.0] * 10), 2)
    assert [(s.start_seconds, s.stop_seconds) for s in stretches] == [(0, 32), (32, 64), (64, 80)]
    assert [s.number(0.0) for s in stretches] == [0, 32_000, 64_000]


def test_tasks_share_a_long_group() -> None:
    gops = make_gops([8.0, 8.0, 400.0, 8.0])
    source = Source(Path("a.mp4"), (0, 0, 0), 1, "a.mp4", gops, 2.0)
    tasks = tasks_for(source, cut(gops, 2))
    assert [task.entry_seconds for task in tasks] == [0.0, 16.0, 416.0]
    assert sum(len(task.stretches) for task in tasks) == len(cut(gops, 2))


spans = st.lists(st.integers(0, 40), max_size=12, unique=True).map(sorted)


@given(spans, spans)
def test_uncovered_is_the_difference(wanted, done) -> None:
    stretches = [Stretch(a, b) for a, b in zip(wanted[::2], wanted[1::2], strict=False)]
    covered = [Stretch(a, b) for a, b in zip(done[::2], done[1::2], strict=False)]

    def seconds(parts: list[Stretch]) -> set[int]:
        return {n for p in parts for n in range(int(p.start_seconds), int(p.stop_seconds))}

    left = uncovered(stretches, covered)
    assert seconds(left) == seconds(stretches) - seconds(covered)
    assert all(one.stop_seconds <= two.start_seconds for one, two in pairwise(left))


@pytest.mark.parametrize(("start", "stop", "found"), [(0, 8, [0]), (7.9, 8.1, [0, 1]), (8, 9, [1])])
def test_groups_of_a_range(start, stop, found) -> None:
    source = Source(Path("a.mp4"), (0, 0, 0), 1, "a.mp4", make_gops([8.0, 8.0]), 2.0)
    assert [gop.index for gop in source.between(start, stop)] == found
