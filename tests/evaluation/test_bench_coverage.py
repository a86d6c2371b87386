"""Coarse first, measured on two clips."""

import pytest

from engine.evaluation.bench.coverage import run


@pytest.mark.slow
def test_coarse_stores_are_measured_against_dense_ones() -> None:
    report = run(device="cpu", clips=2, seed=3, num_queries=3)
    found = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
    keys, shared, own, exact = found
    assert 0 < keys["frames embedded"] < 0.4
    embedded = [each["frames embedded"] for each in (keys, shared, own, exact)]
    assert embedded == sorted(embedded)
    assert keys["moments found"] <= exact["moments found"] == 1.0
    assert (keys["complete"], exact["complete"]) == (0.0, 1.0)
    assert keys["stated as coarse"] > own["stated as coarse"] >= exact["stated as coarse"] == 0.0
