"""A log that lost its end is said to have; one that a checkpoint emptied is not."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.storage.check import check
from engine.storage.repair import repair
from engine.storage.store import Store


@pytest.fixture
def killed(store_with_two_videos: Store, tmp_path: Path) -> Path:
    """The folder as a process left it that was killed after two small commits."""
    store = store_with_two_videos
    store.settle()
    store.catalog.set_values([1], {"camera": "north"})
    store.catalog.remove_video("b")
    return Path(shutil.copytree(store.layout.root, tmp_path / "killed"))


def test_a_whole_log_is_replayed_in_silence(killed: Path, caplog: Any) -> None:
    assert "lost" not in "".join(problem.message for problem in check(killed).problems)
    with Store.open(killed) as store:
        assert [video.name for video in store.catalog.videos()] == ["a"]
    Store.open(killed).close()
    assert "lost" not in caplog.text
    assert check(killed).problems == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, None])
def test_a_log_that_was_cut_is_noticed_once(killed: Path, share: float | None, caplog: Any) -> None:
    log = killed / "catalog.duckdb.wal"
    if share is None:
        log.unlink()
    else:
        os.truncate(log, int(log.stat().st_size * share))
    assert "the last changes are lost" in "".join(p.message for p in check(killed).problems)
    Store.open(killed).close()
    assert "the last changes are lost" in caplog.text
    caplog.clear()
    Store.open(killed).close()
    assert "lost" not in caplog.text
    assert check(killed).problems == []


def test_repair_says_what_is_lost(killed: Path) -> None:
    (killed / "catalog.duckdb.wal").unlink()
    done = repair(killed)
    assert "the last changes are lost" in done.lost[0]
    assert done.changed
    assert not repair(killed).changed


def test_a_damaged_record_claims_nothing(killed: Path, caplog: Any) -> None:
    record = killed / "catalog.duckdb.committed"
    whole = record.read_bytes()
    for seed in range(5):
        data = bytearray(whole)
        data[random.Random(seed).randrange(len(data) - 1)] ^= 1
        record.write_bytes(data)
        assert "lost" not in "".join(problem.message for problem in check(killed).problems)
    Store.open(killed).close()
    assert "lost" not in caplog.text
