"""The speed of imposed reuse: what is imposed, counted and told."""

import pytest

from engine.evaluation.bench.reuse import COLUMNS, run


def test_each_rate_is_imposed_and_its_arithmetic_counted() -> None:
    report = run(shapes=("B/16",), rates=(0.5, 0.9), layers=2, rounds=1, compiled=False)
    found = [dict(zip(COLUMNS, row, strict=True)) for row in report.rows]
    assert [row["reuse"] for row in found] == pytest.approx([0.5, 0.9], abs=0.05)
    assert 1 < found[0]["MACs ×"] < found[1]["MACs ×"]
    assert all(row["dense ms"] > 0 and row["reusevit ms"] > 0 for row in found)
