"""The simulated bound: its table, and streams that are what they are called."""

import numpy as np
import pytest

from engine.evaluation.bench.simulate import STREAMS, run


@pytest.mark.parametrize("name", STREAMS)
def test_streams_keep_the_bound_on_average_or_change(name: str) -> None:
    levels = STREAMS[name].levels(200)
    assert levels.shape == (200,)
    assert 0 <= levels.min() <= levels.max() <= 0.2


def test_bursts_take_the_share_they_are_named_by() -> None:
    high = STREAMS["burst of 7 %"].levels(200) > 0.05
    assert 12 <= int(high.sum()) <= 15
    assert int(np.diff(high.astype(int)).clip(min=0).sum()) == 1


def test_the_table_has_a_row_for_each_stream_and_length() -> None:
    report = run(rounds=2, sizes=((1, 40), (2, 30)))
    assert len(report.rows) == 2 * len(STREAMS)
    still = next(row for row in report.rows if row[:2] == ["still", "40"])
    kept, drift, _, cost, audited, gain = still[2:]
    assert kept == 1
    assert 0 < drift < 0.02
    assert 0.25 < cost < 1
    assert 0.1 < audited < 0.5
    assert 0 < gain < 1
