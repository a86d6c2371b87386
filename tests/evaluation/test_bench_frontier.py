"""What a strategy costs at a drift, from fixed settings: against mixing them two by two."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.evaluation.bench.frontier import cost_at, frontier

points = st.lists(st.tuples(st.floats(0.001, 0.2), st.floats(0.01, 1.2)), max_size=8)


@given(points, st.floats(0, 0.25))
@settings(max_examples=100, deadline=None)
def test_no_mixture_of_two_settings_is_cheaper(
    settings: list[tuple[float, float]], at: float
) -> None:
    known = [(0.0, 1.0), *settings]
    best = min(cost for drift, cost in known if drift <= at)
    for (d1, c1), (d2, c2) in combinations(sorted(known), 2):
        if d1 <= at <= d2 and d1 < d2:
            best = min(best, c1 + (c2 - c1) * (at - d1) / (d2 - d1))
    assert cost_at(settings, at) == pytest.approx(best, abs=1e-9)


def test_the_frontier_falls_and_leaves_out_what_does_not_pay() -> None:
    found = frontier([(0.01, 0.5), (0.02, 0.6), (0.04, 0.2)])
    assert found.tolist() == [[0.0, 1.0], [0.01, 0.5], [0.04, 0.2]]
    assert (np.diff(found[:, 1]) < 0).all()
