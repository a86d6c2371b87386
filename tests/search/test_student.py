"""Student's t against a table of it."""

import pytest

from engine.search.student import student


@pytest.mark.parametrize(("freedom", "expected"), [(5, 2.015), (10, 1.812), (30, 1.697)])
def test_quantiles(freedom: int, expected: float) -> None:
    assert student(0.95, freedom) == pytest.approx(expected, rel=0.01)
