"""`bench moments`: what is told of clips, and how far a moment covers it."""

import pytest

from engine.evaluation.bench.moments import KINDS, ToldMoment, overlap, run
from engine.search.moments import Span

TOLD = ToldMoment("for a part", "a", "a red star", 2.0, 6.0)


@pytest.mark.parametrize(
    ("start", "stop", "expected"), [(2, 6, 1.0), (0, 2, 0.0), (4, 8, 1 / 3), (2, 4, 0.5)]
)
def test_overlap(start: float, stop: float, expected: float) -> None:
    assert overlap(Span(start, stop, start, 0.5, 0), TOLD) == pytest.approx(expected)


def test_a_row_for_every_kind_of_text() -> None:
    report = run(device="cpu", clips=2, seed=1, fps=1.0, workers=0)
    assert [row[0] for row in report.rows] == list(KINDS)
    counted = [row for row in report.rows if row[1]]
    assert counted
    for _, _, covered, inside, *_ in counted:
        assert 0 <= covered <= 1
        assert 0 <= inside <= 1
