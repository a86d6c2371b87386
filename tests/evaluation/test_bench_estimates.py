"""What is expected of embedding stands beside what it took."""

from pathlib import Path

import pytest

from engine.evaluation.bench.estimates import Estimated, _report, measure


def test_each_query_that_embeds_is_noted(tmp_path: Path) -> None:
    [first, second] = measure(tmp_path, 2, 2, 5, "builtin")
    assert (first.query, second.query) == (0, 1)
    assert first.decode[0] == pytest.approx(0.05 * first.span_seconds)  # nothing is known yet
    assert second.decode[0] != pytest.approx(0.05 * second.span_seconds)
    for item in (first, second):
        assert item.frames == 2 * item.span_seconds
        assert min(*item.decode, *item.encode) > 0


def test_estimates_are_counted_after_ten_queries() -> None:
    found = [Estimated(n, 1, 4.0, 8, (1.0, 9.0 if n < 12 else 1.9), (1.0, 0.6)) for n in range(20)]
    report = _report(found)
    assert report.data == {"within": 18, "of": 20}
    assert len(report.rows) == 20
