"""SQL beside its peers, on a store that is small enough for a test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.bench import peers, query, query_bed, query_goals, search


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "VIDEO_ROWS", 300)
    monkeypatch.setattr(query, "TUNED", 2)
    monkeypatch.setattr(peers, "find_spec", lambda _: None)


@pytest.mark.usefixtures("small")
def test_every_statement_is_measured_with_its_parts(tmp_path: Path) -> None:
    asked: list[str] = []

    def run(step: query_bed.Step, *args: Any) -> Any:
        asked.append(step.__name__)
        return step(*args)

    taken = query_bed.lay(tmp_path, 600, 5, run)
    assert query_bed.lay(tmp_path, 600, 5, run) == taken  # nothing is written twice
    assert len(asked) == 5
    done = query.measure(tmp_path, 600, 2, 5, taken)
    assert [each.statement for each in done.figures] == ["top 10"] * 4 + [
        *("cut-off", "best per video", "moments", "Engine.query")
    ]
    for each in done.figures[:4]:
        row = dict(zip(query_goals.COLUMNS, each.row(), strict=True))
        for name in ("SQL p50", "plan", "read", "rest", "EXPLAIN", "index p50", "DuckDB p50"):
            assert row[name] > 0  # type: ignore[operator]
        assert row["recall"] == row["at 100"] == 1.0  # a flat index is exact
        assert row["LanceDB p50"] is row["LanceDB's"] is None
    assert done.notes == ["LanceDB is not installed: pip install lancedb"]


def test_the_nearest_rows_of_several_batches() -> None:
    draw = np.random.default_rng(0)
    scores, ids = draw.standard_normal((3, 500)), draw.permutation(500)
    best = query_bed.NearestSoFar.of_none(3)
    for start in range(0, 500, 70):
        best = best.with_rows(ids[start : start + 70], scores[:, start : start + 70])
    assert np.array_equal(best.ids, ids[np.argsort(-scores, axis=1)[:, : query_bed.MOST]])


def test_a_peer_is_tuned_to_the_same_recall() -> None:
    asked = []

    def find(_: np.ndarray, *, probes: int) -> np.ndarray:
        asked.append(probes)
        return np.arange(10) if probes >= 24 else np.arange(5)

    truth = [np.arange(10)] * 3
    assert peers.tune(find, np.zeros((3, 4)), truth, 0.9) == 24
    assert peers.tune(find, np.zeros((3, 4)), truth, 0.5) == 4


def test_each_goal_is_met_or_not() -> None:
    times = {"sql": [(12.0, 10.0)], "index": [(10.0, 5.0)], "lance": [(11.0, 20.0)]}
    figures = query_goals.Figures(
        1_000_000, "top 10", "none", times, (4.0, 1.0, 1.0, 6.0), 1.0, 1.0
    )
    built = [(1_000_000, 4.0, 3.0, 0.5, 5.0, 2.0)]
    met = {row[1]: (row[3], row[4]) for row in query_goals.judge([figures], built).rows}
    name = "top 10, filter none"
    assert met[f"{name}: p50 ÷ index's"] == (1.2, "yes")
    assert met[f"{name}: cpu ÷ index's"] == (2.0, "no")
    assert met[f"{name}: p50 ÷ LanceDB's"][1] == "no"
    assert met[f"{name}: cpu ÷ LanceDB's"] == (0.5, "yes")
    assert met[f"{name}: p99, ms"] == (12.0, "yes")
    assert met[f"{name}: planning, ms"] == (4.0, "yes")
    assert met[f"{name}: EXPLAIN, ms"] == (6.0, "no")
    assert met["open + first search, ms"] == (500.0, "no")
    assert met["writing ÷ LanceDB's"] == (0.8, "yes")
    assert met["index build ÷ LanceDB's"] == (1.5, "no")
