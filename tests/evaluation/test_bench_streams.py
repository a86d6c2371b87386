"""Real rates of the built-in model, on a few clips."""

import pytest

from engine.errors import UsageError
from engine.evaluation.bench.streams import NAMES, run


@pytest.mark.slow
def test_every_strategy_is_held_against_dense() -> None:
    report = run(device="cpu", clips=2, lanes=2, frames=16, rounds=1, workers=0)
    rows = {
        str(row[0]): dict(zip(report.columns, row, strict=True)) for row in report.rows
    }  # fmt: skip
    assert tuple(rows) == NAMES
    assert rows["dense"]["× dense"] == 1
    assert abs(float(str(rows["dense"]["drift"]))) < 1e-6
    for name in NAMES[1:]:
        row = rows[name]
        assert row["MACs ×"] > 1.5  # type: ignore[operator]
        assert 0 < row["drift"] < 0.05  # type: ignore[operator]
        assert 0.3 < row["reuse"] < 1  # type: ignore[operator]
        assert 0 < row["occupancy"] <= 1  # type: ignore[operator]


def test_nothing_to_encode_is_refused() -> None:
    with pytest.raises(UsageError, match="clips and rounds must be 1 or more, got 0 and 3"):
        run(device="cpu", clips=0)
