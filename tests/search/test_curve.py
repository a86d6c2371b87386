"""Which frames of a video belong to a moment, and which must be exact to know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.search.curve import Curve, MomentRule, level_of, smooth

AVERAGE = 0.1  # of the text over the store


def shown(scores: NDArray[np.float64]) -> list[int]:
    """The frames that belong to a moment, at two frames a second."""
    even, level = level_of(np.arange(len(scores)) / 2, scores, AVERAGE)
    return np.flatnonzero(even >= level).tolist()


def curve(*parts: tuple[int, float]) -> NDArray[np.float64]:
    """Levels for so many frames each, with a little noise."""
    levels = np.concatenate([np.full(count, level) for count, level in parts])
    return levels + np.random.default_rng(0).normal(0, 0.003, len(levels))


@pytest.mark.parametrize("low", [0.1, 0.3], ids=["elsewhere nothing", "elsewhere alike"])
def test_what_begins_and_ends_is_one_moment(low: float) -> None:
    assert shown(curve((20, low), (8, 0.5), (20, low))) == list(range(20, 28))


def test_what_is_shown_for_a_moment_is_short() -> None:
    assert shown(curve((30, 0.2), (2, 0.4), (30, 0.2))) == [30, 31]


def test_what_holds_all_the_time_does_not_fall_apart() -> None:
    assert shown(curve((40, 0.5))) == list(range(40))
    slowly = 0.5 + 0.08 * np.sin(np.arange(40) / 6)
    assert shown(slowly) == list(range(40))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames(count: int) -> None:
    assert shown(np.full(count, 0.4)) == list(range(count))


def settle(rule: MomentRule, stored: Curve, exact: NDArray[np.float64], bar: float) -> Curve:
    """Make rows exact until none is open that matters."""
    curve = stored
    while (waiting := rule.undecided_rows(curve, bar)).any():
        one = np.arange(len(exact)) == np.argmax(np.where(waiting, curve.high, -np.inf))
        curve = Curve(
            curve.ids,
            curve.seconds,
            np.where(one, exact, curve.scores),
            np.where(one, 0.0, curve.bounds),
        )
    return curve


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 0.4), st.floats(-1, 1), st.booleans()),
        min_size=1,
        max_size=24,
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5, 1.5]),
)
@settings(max_examples=300, deadline=None)
def test_moments_are_those_of_exact_scores_where_bounds_hold(
    rows: list[tuple[float, float, float, bool]], cut: float, bar: float, gap: float
) -> None:
    scores, spread, share, known = (np.array(column, float) for column in zip(*rows, strict=True))
    off = np.where(known, 0.0, spread)
    exact = scores + share * off
    times = np.arange(len(rows)) / 2
    stored = Curve(np.arange(len(rows)), times, scores, off)
    rule = MomentRule(gap, cut, cut)
    found = [span for span in rule.spans(settle(rule, stored, exact, bar)) if span.score >= bar]
    truth = Curve(stored.ids, times, exact, np.zeros(len(rows)))
    assert found == [span for span in rule.spans(truth) if span.score >= bar]


def test_what_surely_belongs_to_a_moment_or_not_need_not_be_exact() -> None:
    scores = curve((20, 0.1), (8, 0.5), (20, 0.1))
    scores[23] += 0.15  # the highest by far
    rule = MomentRule(1.0, None, AVERAGE)
    stored = Curve(np.arange(48), np.arange(48) / 2, scores, np.full(48, 0.03))
    assert np.flatnonzero(rule.undecided_rows(stored, 0.3)).tolist() == [23]
    wide = Curve(stored.ids, stored.seconds, scores, np.full(48, 0.2))
    assert set(range(20, 28)) < set(np.flatnonzero(rule.undecided_rows(wide, 0.3)).tolist())
    assert not rule.undecided_rows(stored, 0.8).any()
    known = Curve(stored.ids, stored.seconds, scores, np.zeros(48))
    assert not rule.undecided_rows(known, 0.3).any()


def test_where_a_frame_hangs_on_the_level_the_floor_is_made_exact() -> None:
    scores = curve((20, 0.1), (8, 0.5), (20, 0.1))
    scores[28] = 0.34  # the level, if the floor is 0.1
    scores[:6] = 0.12
    scores[3] = 0.11
    off = np.zeros(48)
    off[:6] = 0.1
    rule = MomentRule(1.0, None, AVERAGE)
    stored = Curve(np.arange(48), np.arange(48) / 2, scores, off)
    found = np.flatnonzero(rule.undecided_rows(stored, 0.3)).tolist()
    assert len(found) == 4
    assert set(found) < set(range(6))
    assert 3 in found
    scores[28] = 0.2
    assert not rule.undecided_rows(stored, 0.3).any()  # below any level


@pytest.mark.parametrize("shake", [0.0, 0.004], ids=["even times", "uneven times"])
@pytest.mark.parametrize(("count", "step"), [(2, 0.5), (7, 0.5), (120, 1 / 30), (90, 0.001)])
def test_scores_are_smoothed_as_all_pairs_say(count: int, step: float, shake: float) -> None:
    drawn = np.random.default_rng(count)
    seconds = 3.0 + np.arange(count) * step + np.sort(drawn.uniform(0, shake, count))
    values, lasts = drawn.normal(0, 1, count), np.gradient(seconds)
    near = np.exp(-0.5 * ((seconds[:, None] - seconds) / 0.2) ** 2) * lasts
    told = (near * values).sum(1) / near.sum(1)
    np.testing.assert_allclose(smooth(seconds, values, 0.2), told, rtol=0, atol=1e-12)
