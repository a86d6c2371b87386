"""A sampling is a value; its text is what stores have had since format 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.storage.sampling import Sampling


@pytest.mark.parametrize(
    ("fps", "text"),
    [(2, "fps=2"), (0.5, "fps=0.5"), (30000 / 1001, "fps=29.97"), (1e-9, "fps=1e-09")],
)
def test_its_text_is_the_one_stored_before(fps: float, text: str) -> None:
    assert str(Sampling(fps)) == text
    assert Sampling.parse(text) == Sampling(fps)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_what_was_read_equals_what_was_written(fps: float) -> None:
    assert Sampling.parse(str(Sampling(fps))) == Sampling(fps)
    assert Sampling(fps).fps == pytest.approx(fps, rel=1e-5)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_samples_nothing_is_refused(fps: float) -> None:
    with pytest.raises(UsageError, match="allowed: more than 0"):
        Sampling(fps)


def test_a_text_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="'keyframes'; allowed: fps=RATE"):
        Sampling.parse("keyframes")
