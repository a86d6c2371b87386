"""Hits to spans, spans to sequences."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.moments import Span, Step, chain_spans, find_spans, frame_stops, is_apart

TIMES = np.arange(10) / 2


def spans(hits: list[int], gap: float = 0.0) -> list[tuple[float, float]]:
    mask = np.isin(np.arange(10), hits)
    found = find_spans(TIMES, np.arange(10.0), mask, gap)
    return [(span.start_seconds, span.stop_seconds) for span in found]


def test_adjacent_hits_are_one_span_until_the_next_frame() -> None:
    assert spans([2, 3, 4]) == [(1.0, 2.5)]
    assert spans([2, 3, 7]) == [(1.0, 2.0), (3.5, 4.0)]
    assert spans([9]) == [(4.5, 5.0)]
    assert spans([]) == []


def test_a_gap_joins_hits_that_lie_close() -> None:
    assert spans([2, 4], gap=0.5) == [(1.0, 2.5)]
    assert spans([2, 5], gap=0.5) == [(1.0, 1.5), (2.5, 3.0)]


def test_the_peak_is_the_highest_hit() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0, 0, 0, 0, 0, 0, 0])
    span = find_spans(TIMES, scores, scores > 0.3, 0.0)[0]
    assert (span.peak_seconds, span.score, span.peak) == (0.5, 0.9, 1)


def test_frames_are_shown_until_the_next_one_and_no_longer_than_two_steps() -> None:
    assert frame_stops(np.array([0.0, 0.5, 1.0, 9.0])).tolist() == [0.5, 1.0, 2.0, 9.5]
    assert frame_stops(np.array([3.0])).tolist() == [4.0]
    assert frame_stops(np.empty(0)).tolist() == []


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.floats(0, 5, allow_nan=False),
)
def test_spans_cover_every_hit_once_and_lie_apart(hits: list[bool], gap: float) -> None:
    times = np.arange(len(hits)) / 2
    mask = np.array(hits)
    found = find_spans(times, np.zeros(len(hits)), mask, gap)
    inside = [s.start_seconds <= t < s.stop_seconds for t in times[mask] for s in found]
    assert sum(inside) == mask.sum()
    for one, other in pairwise(found):
        assert other.start_seconds - one.stop_seconds > gap


def span(start: float, stop: float, score: float = 1.0) -> Span:
    return Span(start, stop, start, score, 0)


def test_steps_follow_one_another() -> None:
    steps = (Step("a"), Step("b"))
    assert chain_spans(steps, [[span(0, 2, 0.9)], [span(3, 5, 0.4)]]) == [Span(0, 5, 3, 0.4, 0)]
    assert chain_spans(steps, [[span(3, 5)], [span(0, 2)]]) == []


@pytest.mark.parametrize(("within", "found"), [(1.0, 1), (0.5, 0)])
def test_within_counts_from_the_end_of_the_step_before(within: float, found: int) -> None:
    steps = (Step("a"), Step("b", within_seconds=within))
    assert len(chain_spans(steps, [[span(0, 2)], [span(3, 5)]])) == found


def test_a_step_must_hold() -> None:
    assert chain_spans((Step("a", hold_seconds=3),), [[span(0, 2), span(4, 7)]]) == [span(4, 7)]


def test_a_later_follower_is_taken_where_the_first_leads_nowhere() -> None:
    steps = (Step("a"), Step("b"), Step("c", within_seconds=1))
    found = chain_spans(steps, [[span(0, 1)], [span(2, 3), span(6, 7)], [span(7.5, 8)]])
    assert [(item.start_seconds, item.stop_seconds) for item in found] == [(0, 8)]


def test_near_duplicates_are_not_apart() -> None:
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert is_apart(one, [], 0.9)
    assert is_apart(one, [other], 0.9)
    assert not is_apart(one, [other, one], 0.9)
