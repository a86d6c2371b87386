"""Bounds on what was only sampled hold, and are not much wider than they have to be."""

from math import log

import numpy as np
import pytest

from engine.search.bounds import Bet, planned_rest

DELTA = 0.1


@pytest.mark.parametrize("count", [1, 10, 60, 400])
@pytest.mark.parametrize("least", [0.02, 0.2, 0.7])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_they_hold_for_every_number_and_every_chance(
    count: int, least: float, spread: float
) -> None:
    rng = np.random.default_rng(count)
    chances = np.minimum(1.0, least * rng.uniform(1.0, spread, count))
    bet, runs, failed = Bet.on(least, 0.5), 600, 0
    for _ in range(runs):
        found = chances[rng.random(count) < chances]
        failed += bet.most(found, DELTA) < count
    assert failed / runs < DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / runs)


def test_one_that_finds_nothing_is_nearly_as_good_as_the_exact_one() -> None:
    """Of M that are each sampled with a chance of a tenth none is found with 0.9^M."""
    exact = log(DELTA) / log(1 - 0.1)
    assert exact <= Bet.on(0.1, 0.999).most(np.empty(0), DELTA) < 1.15 * exact


def test_more_that_is_found_allows_for_more() -> None:
    bet = Bet.on(0.25, 0.5)
    bounds = [bet.most(np.full(found, 0.25), DELTA) for found in (0, 1, 5, 50, 500)]
    assert bounds == sorted(bounds)
    assert all(
        bound >= found / 0.25 for bound, found in zip(bounds, (0, 1, 5, 50, 500), strict=True)
    )
    assert bounds[-1] < 1.4 * 500 / 0.25


def test_what_is_planned_is_what_comes_out() -> None:
    expected, chance = np.array([40.0]), np.array([0.2])
    left, share = planned_rest(expected, chance, DELTA)
    found = round(40 * 0.2 + np.sqrt(40 * 0.2))
    most = Bet.on(0.2, float(share[0])).most(np.full(found, 0.2), DELTA)
    assert most - found == pytest.approx(float(left[0]), rel=0.1)
