"""`bench rollout`: what is kept and multiplied, whatever the machine's speed."""

import pytest

from engine.errors import UsageError
from engine.evaluation.bench import rollout


def test_pruned_cycles_take_fewer_multiply_adds() -> None:
    report = rollout.run(
        towers=("Ti/16", "ViTDet tiny"), device="cpu", streams=2, every=3, repeats=1, compiled=False
    )
    dense, pruned, whole, kept, guided = report.rows
    assert dense[:4] == ("Ti/16", "dense", None, 1.0)
    assert pruned[:3] == ("Ti/16", "rgtp", 0.25)
    assert whole[:4] == ("ViTDet tiny", "dense", None, 1.0)
    assert kept[:4] == ("ViTDet tiny", "rgtp", 1.0, 1.0)
    assert guided[:3] == ("ViTDet tiny", "rgtp", 0.3)
    for row in (pruned, guided):
        assert isinstance(row[3], float)
        assert 1.1 < row[3] < 3
    assert all(isinstance(cell, float) and cell > 0 for row in report.rows for cell in row[4:])


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown tower 'L14'; allowed: .*nearest: L/14"):
        rollout.run(towers=("L14",), device="cpu")
