"""A log that lost its end is said to have; one that a checkpoint emptied is not."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.database import Database
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


def _flip(record: Path, seed: int) -> None:
    data = bytearray(record.read_bytes())
    data[random.Random(seed).randrange(len(data))] ^= 1 << random.Random(seed).randrange(8)
    record.write_bytes(data)


def _cut(record: Path, seed: int) -> None:
    os.truncate(record, random.Random(seed).randrange(record.stat().st_size))


def _delete(record: Path, _: int) -> None:
    record.unlink()


HARM = [*((_flip, seed) for seed in range(6)), (_cut, 0), (_cut, 1), (_delete, 0)]


@pytest.mark.parametrize(("harm", "seed"), HARM)
def test_a_record_that_is_damaged_or_gone_is_named_and_healed(
    harm: Callable[[Path, int], None], seed: int, killed: Path, caplog: Any
) -> None:
    record = killed / "catalog.duckdb.committed"
    harm(record, seed)
    said = [problem.message for problem in check(killed).problems]
    assert any("catalog.duckdb.committed is " in text for text in said)
    assert "last changes are lost" not in "".join(said)
    done = repair(killed)
    assert "catalog.duckdb.committed is " in done.lost[0]
    assert check(killed).problems == []
    harm(record, seed)
    Store.open(killed).close()
    assert "catalog.duckdb.committed is " in caplog.text
    assert check(killed).problems == []


def test_a_store_that_never_had_a_record_gets_one_in_silence(killed: Path, caplog: Any) -> None:
    database = Database(killed / "catalog.duckdb")
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM settings WHERE name = 'log_length'")
    database.close()
    record = killed / "catalog.duckdb.committed"
    record.unlink()
    Store.open(killed).close()
    assert record.exists()
    assert "committed" not in caplog.text
    assert check(killed).problems == []


def test_backups_have_a_record_too(killed: Path, tmp_path: Path) -> None:
    backup(killed, tmp_path / "kept")
    assert check(tmp_path / "kept").problems == []
    restore(tmp_path / "kept", tmp_path / "again")
    assert check(tmp_path / "again").problems == []
    (tmp_path / "again" / "catalog.duckdb.committed").unlink()
    assert "is gone" in check(tmp_path / "again").problems[0].message
