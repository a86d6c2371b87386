"""A budget of frames against a plain definition: whole groups, in their order, while they fit."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine.ingesting.frame_budget import FrameBudget
from engine.ingesting.plan import Source, Stretch, cut, uncovered
from engine.video.gop import Gop

LENGTHS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 7.5, 40.0]), min_size=1, max_size=30)


def source_of(lengths: list[float], fps: float) -> Source:
    gops, start = [], 0.0
    for number, length in enumerate(lengths):
        gops.append(Gop(number, start, start + length, round(length * 25), number))
        start += length
    return Source(Path("/v.mp4"), (0, 0, 0), 1, "v", tuple(gops), fps)


@given(LENGTHS, st.sampled_from([0.5, 2.0, 3.0]), st.integers(0, 120))
def test_whole_groups_fit_or_stay_out(lengths: list[float], fps: float, most: int) -> None:
    source = source_of(lengths, fps)
    budget = FrameBudget(most)
    found = budget.fit(source, cut(source.gops, fps))
    embedded = sum(source.frames(part) for part in found)
    assert embedded <= most
    expected, left, reached = [], most, 0.0
    for gop in source.gops:  # the definition
        frames = source.frames(Stretch(gop.start_seconds, gop.stop_seconds))
        if frames > left:
            break
        expected.append(gop.index)
        left, reached = left - frames, gop.stop_seconds
    longest = max(gop.stop_seconds - gop.start_seconds for gop in source.gops)
    stop = found[-1].stop_seconds if found else 0.0
    # a group that is so long that it is cut may be begun
    assert stop >= reached
    assert stop - reached <= longest
    assert all(a.stop_seconds == b.start_seconds for a, b in pairwise(found))
    assert budget.exceeded == bool(uncovered([source.whole], found))


def test_without_a_bound_all_fits() -> None:
    source = source_of([40.0] * 9, 2.0)
    budget = FrameBudget()
    assert budget.fit(source, cut(source.gops, 2.0)) == cut(source.gops, 2.0)
    assert (budget.left, budget.exceeded) == (None, False)


def test_it_is_counted_down_over_videos() -> None:
    source, budget = source_of([1.0] * 5, 2.0), FrameBudget(13)
    assert budget.fit(source, [source.whole]) == [source.whole]
    assert budget.fit(source, [source.whole]) == [Stretch(0.0, 1.0)]
    assert (budget.left, budget.exceeded) == (0, True)
    assert budget.fit(source, [source.whole]) == []
