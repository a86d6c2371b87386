"""The bench of upkeep: its store is whole, and folding leaves one part."""

from pathlib import Path

from engine.evaluation.bench.store import run
from engine.storage.check import check
from engine.storage.store import Store


def test_a_store_made_in_one_go_is_one_that_ingests_make(tmp_path: Path) -> None:
    report = run(tmp_path / "store", videos=30, rounds=1)
    assert report.data["parts"] == [30, 1]
    assert [row[0] for row in report.rows][:2] == ["open", "open for reading"]
    assert check(tmp_path / "store").problems == []
    with Store.open(tmp_path / "store") as store:
        assert store.catalog.video("30.mp4").video_id == 30
        assert store.index_status()[0].num_rows == 240
