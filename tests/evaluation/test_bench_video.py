"""`bench video`: what is kept and multiplied, whatever the machine's speed."""

import pytest

from engine.errors import UsageError
from engine.evaluation.bench import video


def test_fewer_tokens_take_fewer_multiply_adds() -> None:
    report = video.run(
        tower="Ti/8", device="cpu", clips=2, keep=(1.0, 0.4), repeats=1, compiled=False
    )
    dense, whole, few = report.rows
    assert dense[:3] == ("dense", 1.0, 1.0)
    assert whole[:3] == ("packed", 1.0, 1.0)
    assert isinstance(few[1], float)
    assert isinstance(few[2], float)
    assert 0.25 < few[1] < 0.6  # of all tokens; the first step of four is whole
    assert few[2] > 1 / few[1]  # attention is quadratic
    assert all(isinstance(cell, float) and cell > 0 for row in report.rows for cell in row[3:])


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(UsageError, match="tower 'L/14'; allowed: B/16, Ti/8"):
        video.run(tower="L/14")
