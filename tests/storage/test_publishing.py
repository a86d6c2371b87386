"""A published copy is what its name says; other names are nobody's, and damage is mended aloud."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.storage.backup import backup
from engine.storage.check import check
from engine.storage.layout import Layout
from engine.storage.publishing import newest_copy
from engine.storage.repair import repair
from engine.storage.store import Store

STRAYS = (
    "0000000009.duckdb",
    ".0000000003-deadbeef.duckdb",
    "000000000\N{SUPERSCRIPT NINE}-0123456789abcdef.duckdb",
    "0000000009-0123456789ABCDEF.duckdb",
    "99999999999-0123456789abcdef.duckdb",
    "0000000009-.duckdb",
    "notes.txt",
)
FOLDER = "0000000008-0123456789abcdef.duckdb"  # called as a copy is


@pytest.fixture
def closed(store_with_two_videos: Store) -> Path:
    store_with_two_videos.close()
    return store_with_two_videos.layout.root


def test_names_that_are_not_a_copys_are_left_alone(closed: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(closed, target)
    for root in (closed, target):
        (root / "parts" / "1" / "holidays").mkdir()
        (root / "parts" / "1" / "holidays" / "beach.jpg").write_bytes(b"mine")
        for name in STRAYS:
            (root / "published" / name).write_bytes(b"mine")
        (root / "published" / FOLDER).mkdir()
    with Store.read(closed) as store:
        assert store.catalog.count_videos() == 2
    assert [problem.kind for problem in check(closed).problems] == ["stray"]
    with Store.open(closed) as store:
        store.catalog.rename("a", "c")
    backup(closed, target)
    repair(closed)
    for root in (closed, target):
        assert all((root / "published" / name).read_bytes() == b"mine" for name in STRAYS)
        assert (root / "published" / FOLDER).is_dir()
    assert (target / "parts" / "1" / "holidays" / "beach.jpg").read_bytes() == b"mine"
    assert check(closed).problems == []


def test_what_a_killed_backup_left_goes_with_the_next(closed: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(closed, target)
    left = [
        target / "published" / ".0000000003-deadbeef.duckdb.tmp",
        target / "parts" / "1" / "000000" / ".0000000009.parquet.tmp",
    ]
    for path in left:
        path.write_bytes(b"half")
    backup(closed, target)
    assert not any(path.exists() for path in left)


def damage(root: Path) -> bytes:
    """Flip a bit far behind what every checkpoint changes."""
    copy = newest_copy(Layout(root))
    assert copy is not None
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    return bytes(data)


def test_repair_says_that_it_published_anew(closed: Path) -> None:
    damaged = damage(closed)
    [problem] = check(closed).problems
    assert (problem.kind, "is not what was published" in problem.message) == ("copy", True)
    done = repair(closed)
    assert done.changed
    assert done.published
    assert "is not what was published; it is kept as lost+found/" in done.set_aside[0]
    assert [path.read_bytes() for path in (closed / "lost+found").iterdir()] == [damaged]
    assert check(closed).problems == []
    assert not repair(closed).changed


def test_an_open_store_replaces_a_damaged_copy(closed: Path, caplog: Any) -> None:
    damage(closed)
    Store.open(closed).close()
    assert "is not what was published: it is published anew" in caplog.text
    assert check(closed).problems == []


def test_a_kill_after_publishing_leaves_no_part(closed: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"

    def keep(point: str) -> None:
        """Keep the folder as a process that was killed here had left it."""
        if point == "copy: published" and not killed.exists():
            shutil.copytree(closed, killed)

    with Store.open(closed, reached=keep) as store:
        store.catalog.remove_video("a")
    assert len(list((killed / "parts").rglob("*.parquet"))) == 4
    Store.open(killed).close()
    assert len(list((killed / "parts").rglob("*.parquet"))) == 2
    assert check(killed).problems == []
