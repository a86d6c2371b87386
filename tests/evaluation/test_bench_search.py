"""Search measured on a store of toy size: what is found, and tables that fit a terminal."""

import pytest

from engine.evaluation.bench.search import run


@pytest.mark.slow
def test_a_small_store_is_searched_exactly() -> None:
    report = run(sizes=(600,))
    [found] = report.as_dict()["rows"]
    assert (found["rows"], found["recall"], found["of texts"]) == (600, 1.0, 1.0)
    assert 0 < found["p50"] <= found["p99"]
    [built] = report.more[0].as_dict()["rows"]
    assert built["index"] == "flat"
    assert built["index MiB"] > 600 * 512 * 4 / 2**20
    assert set(report.data["measured"][0]) >= {"p50", "recall_texts", "peak_mib"}
    for line in report.text().splitlines():
        assert len(line) <= 120
