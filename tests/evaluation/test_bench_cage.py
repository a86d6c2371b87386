"""What the cage costs, measured on few rows."""

import sys
from math import isfinite

import pytest

from engine.evaluation.bench.cage import run


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_statement_over_each_size_both_ways() -> None:
    report = run(sizes=(0, 100), rounds=2)
    rows = report.as_dict()["rows"]
    assert [row["rows"] for row in rows] == [0] * 3 + [100] * 3
    assert all(row["here ms"] > 0 and row["cage ms"] > 0 for row in rows)
    # a difference of two times: on a machine in use it may come out below nothing
    assert all(isfinite(row["cost, processor ms"]) for row in rows)
    assert "a worker starts in" in report.notes[0]
