"""Spans from relevance curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering.ground import ground, hold, smooth

TIMES = np.arange(40) / 2


@given(start=st.integers(0, 30), length=st.integers(2, 9), width=st.sampled_from([0.0, 0.3]))
def test_a_clear_event_is_found(start: int, length: int, width: float) -> None:
    curve = np.where((np.arange(40) >= start) & (np.arange(40) < start + length), 0.3, 0.2)
    found = ground(TIMES, curve, width_seconds=width)
    assert found.start_seconds == start / 2
    assert found.stop_seconds == (start + length) / 2
    assert found.start_seconds <= found.peak_seconds < found.stop_seconds


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_any_curve_gives_a_span_inside_it(values: list[float]) -> None:
    times = TIMES[: len(values)]
    found = ground(times, np.array(values), duration_seconds=20.0)
    assert times[0] <= found.start_seconds <= found.peak_seconds < found.stop_seconds <= 20


def test_a_flat_curve_is_the_whole_video() -> None:
    found = ground(TIMES, np.full(40, 0.25))
    assert (found.start_seconds, found.stop_seconds) == (0, 20)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_probability_is_held_while_it_is_likely(values: list[float]) -> None:
    times, likely = TIMES[: len(values)], np.array(values)
    found = hold(times, likely, duration_seconds=20.0)
    inside = likely[(times >= found.start_seconds) & (times < found.stop_seconds)]
    assert times[0] <= found.start_seconds <= found.peak_seconds < found.stop_seconds <= 20
    assert inside.max() == likely.max()
    assert inside.min() >= min(0.5, likely.max())
    after = likely[times >= found.stop_seconds]
    assert not len(after) or after[0] < 0.5


def test_smoothing_keeps_a_constant_and_needs_no_even_times() -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 10, 30))
    assert np.allclose(smooth(times, np.full(30, 0.7), 1.0), 0.7)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="two curves alike"):
        ground(TIMES, np.zeros(3))
