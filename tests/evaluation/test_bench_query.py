"""SQL beside its peers, on a store that is small enough for a test."""

from pathlib import Path

import numpy as np
import pytest

from engine.evaluation.bench import peers, query, search


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "VIDEO_ROWS", 300)
    monkeypatch.setattr(query, "_SECONDS", 150)
    monkeypatch.setattr(query, "TUNED", 2)
    monkeypatch.setattr(peers, "find_spec", lambda _: None)


@pytest.mark.usefixtures("small")
def test_every_statement_is_measured_with_its_parts(tmp_path: Path) -> None:
    search.write(tmp_path / "ours", 600, None)
    done = query.measure(tmp_path, 600, 2)
    assert [row[1] for row in done.rows] == ["top 10"] * 4 + [
        *("cut-off", "best per video", "moments", "Engine.query")
    ]
    for row in done.rows[:4]:
        sql, plan, read, tail, index, lance, duck, recall, theirs = (
            row[at] for at in (3, 5, 6, 7, 8, 10, 12, 13, 14)
        )
        assert min(sql, plan, read, tail, index, duck) > 0
        assert recall == 1.0  # a flat index is exact
        assert lance is theirs is None
    assert done.notes == ["LanceDB is not installed: pip install lancedb"]


def test_a_peer_is_tuned_to_the_same_recall() -> None:
    asked = []

    def find(_: np.ndarray, *, probes: int) -> np.ndarray:
        asked.append(probes)
        return np.arange(10) if probes >= 24 else np.arange(5)

    truth = [np.arange(10)] * 3
    assert peers.tune(find, np.zeros((3, 4)), truth, 0.9) == 24
    assert peers.tune(find, np.zeros((3, 4)), truth, 0.5) == 4
