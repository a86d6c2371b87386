"""Hits to spans, spans to sequences."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.moments import Span, Step, find_spans, frame_stops, is_distinct, sequence_spans

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


def test_a_frame_that_stands_for_more_is_shown_until_then_or_the_next_one() -> None:
    seconds = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 6.0, 10.0])
    until = np.array([0.0, 0.5, 1.0, 1.5, 5.5, 11.0, 13.0])
    assert frame_stops(seconds, until).tolist() == [0.5, 1.0, 1.5, 2.0, 5.5, 10.0, 13.0]
    found = find_spans(seconds, seconds, seconds >= 2, 0.0, until)
    assert [(each.start_seconds, each.stop_seconds) for each in found] == [(2, 5.5), (6, 13)]


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


@given(st.lists(st.sampled_from([0.1, 0.5, 0.7, 0.9]), min_size=2, max_size=40))
def test_the_peak_is_the_first_of_the_highest(scores: list[float]) -> None:
    values = np.array(scores)
    found = find_spans(np.arange(len(scores)) / 2, values, values > 0.3, 0.0)
    for one in found:
        inside = range(round(2 * one.start_seconds), round(2 * one.stop_seconds))
        assert one.peak == max(inside, key=scores.__getitem__)
        assert (one.score, one.peak_seconds) == (scores[one.peak], one.peak / 2)


def span(start: float, stop: float, score: float = 1.0) -> Span:
    return Span(start, stop, start, score, 0)


def test_steps_follow_one_another() -> None:
    steps = (Step("a"), Step("b"))
    assert sequence_spans(steps, [[span(0, 2, 0.9)], [span(3, 5, 0.4)]]) == [Span(0, 5, 3, 0.4, 0)]
    assert sequence_spans(steps, [[span(3, 5)], [span(0, 2)]]) == []


@pytest.mark.parametrize(("within", "found"), [(1.0, 1), (0.5, 0)])
def test_within_counts_from_the_end_of_the_step_before(within: float, found: int) -> None:
    steps = (Step("a"), Step("b", within_seconds=within))
    assert len(sequence_spans(steps, [[span(0, 2)], [span(3, 5)]])) == found


def test_a_step_must_hold() -> None:
    assert sequence_spans((Step("a", hold_seconds=3),), [[span(0, 2), span(4, 7)]]) == [span(4, 7)]


def test_a_later_follower_is_taken_where_the_first_leads_nowhere() -> None:
    steps = (Step("a"), Step("b"), Step("c", within_seconds=1))
    found = sequence_spans(steps, [[span(0, 1)], [span(2, 3), span(6, 7)], [span(7.5, 8)]])
    assert [(item.start_seconds, item.stop_seconds) for item in found] == [(0, 8)]


def every_sequence(steps: tuple[Step, ...], found: list[list[Span]]) -> list[Span]:
    """The definition: for each first span the earliest combination that keeps the rules."""
    joined: dict[Span, Span] = {}
    for combination in product(*found):
        late = [
            step.within_seconds is not None
            and after.start_seconds > before.stop_seconds + step.within_seconds
            for step, (before, after) in zip(steps[1:], pairwise(combination), strict=True)
        ]
        rising = all(b.start_seconds > a.start_seconds for a, b in pairwise(combination))
        held = all(
            span.stop_seconds - span.start_seconds >= step.hold_seconds
            for step, span in zip(steps, combination, strict=True)
        )
        if rising and held and not any(late) and combination[0] not in joined:
            weakest = min(combination, key=lambda span: span.score)
            stop = max(span.stop_seconds for span in combination)
            first = combination[0]
            joined[first] = Span(first.start_seconds, stop, weakest.peak_seconds, weakest.score, 0)
    return list(joined.values())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 2.0]),
            st.sampled_from([None, 0.0, 1.0, 3.0]),
            st.lists(
                st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(0, 9)), max_size=4
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_sequences_are_those_of_the_definition(
    given_steps: list[tuple[float, float | None, list[tuple[int, int, int]]]],
) -> None:
    steps = tuple(Step("", hold, None, within) for hold, within, _ in given_steps)
    found = [
        [
            span(start, start + length, score / 10)
            for start, length, score in sorted({item[0]: item for item in row}.values())
        ]
        for _, _, row in given_steps
    ]
    assert sequence_spans(steps, found) == every_sequence(steps, found)


def test_many_spans_that_lead_nowhere_take_no_time() -> None:
    steps = (*(Step("a") for _ in range(20)), Step("b", within_seconds=0.5))
    rows = [[span(at, at + 0.1) for at in range(200)] for _ in range(20)]
    assert sequence_spans(steps, [*rows, [span(1000, 1001)]]) == []


def test_near_duplicates_are_not_apart() -> None:
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert is_distinct(one, [], 0.9)
    assert is_distinct(one, [other], 0.9)
    assert not is_distinct(one, [other, one], 0.9)
