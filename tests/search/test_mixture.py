"""Mixed subjects against sums of fractions, which nothing overflows."""

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.search.mixture import mixed_vector

WEIGHTS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-3, 3)


@pytest.fixture(scope="module")
def context() -> Any:
    rows = np.random.default_rng(5).normal(size=(3, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return SimpleNamespace(vectors=dict(zip("abc", rows.astype(np.float32), strict=True)))


def exactly(context: Any, others: dict[str, float]) -> np.ndarray:
    """The mixture over its largest weight, summed in fractions."""
    weights = {name: Fraction(weight) for name, weight in others.items()}
    largest = max([Fraction(1), *map(abs, weights.values())])
    total = [Fraction(float(value)) / largest for value in context.vectors["a"]]
    for name, weight in weights.items():
        part = [weight / largest * Fraction(float(value)) for value in context.vectors[name]]
        total = [one + other for one, other in zip(total, part, strict=True)]
    return np.array([float(value) for value in total])


@settings(deadline=None)
@given(first=WEIGHTS, second=WEIGHTS)
def test_any_finite_weights_give_a_direction(context: Any, first: float, second: float) -> None:
    others = {"b": first, "c": second}
    wanted = exactly(context, others)
    found = mixed_vector(context, "a", others)
    assert np.isclose(np.linalg.norm(found), 1, atol=1e-6)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)


@pytest.mark.parametrize("weight", [1e308, -1e308, 1e40, -1e40])
def test_a_huge_weight_leaves_its_text_alone(context: Any, weight: float) -> None:
    found = mixed_vector(context, "a", {"b": weight})
    np.testing.assert_allclose(found, np.sign(weight) * context.vectors["b"], atol=1e-6)


@pytest.mark.parametrize("weight", [float("inf"), float("-inf"), float("nan"), 10**400])
def test_a_weight_that_is_not_finite_is_refused(context: Any, weight: float) -> None:
    with pytest.raises(UsageError, match="allowed: a text and a finite number"):
        mixed_vector(context, "a", {"b": weight})


def test_texts_that_cancel_are_refused(context: Any) -> None:
    with pytest.raises(UsageError, match="cancel each other"):
        mixed_vector(context, "a", {"a": -1.0})
