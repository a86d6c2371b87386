"""What is noticed of files in folders, held against a model of what happened to them."""

import os
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.ingesting.discover import discover
from engine.ingesting.watch import FolderWatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "films"
    made.mkdir()
    return made


def told(watch: FolderWatch, now: float) -> list[tuple[str, ...]]:
    return [
        (each.kind, each.found.name, *([each.before] if each.before else []))
        for each in watch.changes(now)
    ]


def test_a_file_settles_once_it_rests(folder: Path) -> None:
    watch = FolderWatch(lambda: discover([folder]), 5)
    growing = folder / "a.mp4"
    growing.write_bytes(b"1")
    assert told(watch, 0) == []
    growing.write_bytes(b"12")
    assert told(watch, 4.9) == []
    assert told(watch, 9.8) == []
    assert told(watch, 9.9) == [("settled", "a.mp4")]
    assert told(watch, 99) == []
    growing.write_bytes(b"123")
    assert told(watch, 100) == []
    assert told(watch, 105) == [("settled", "a.mp4")]


def test_a_time_that_changes_is_a_change(folder: Path) -> None:
    watch = FolderWatch(lambda: discover([folder]), 5)
    (folder / "a.mp4").write_bytes(b"1")
    told(watch, 0)
    os.utime(folder / "a.mp4", ns=(1, 1))
    assert told(watch, 5) == []
    assert told(watch, 10) == [("settled", "a.mp4")]


def test_moved_and_gone(folder: Path) -> None:
    watch = FolderWatch(lambda: discover([folder]), 1)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / name).write_text(name)
    told(watch, 0)
    assert len(told(watch, 1)) == 3
    (folder / "new.mp4").write_text("it has not settled when it goes")
    told(watch, 2)
    (folder / "new.mp4").unlink()
    (folder / "deep").mkdir()
    (folder / "a.mp4").rename(folder / "deep" / "z.mp4")
    (folder / "b.mp4").unlink()
    assert told(watch, 3) == [("moved", "deep/z.mp4", "a.mp4"), ("gone", "b.mp4")]
    assert told(watch, 4) == [("settled", "deep/z.mp4")]


def test_what_went_unseen_is_told_first(folder: Path) -> None:
    (folder / "here.mp4").write_text("here")
    stored = {folder / "here.mp4": "here.mp4", folder / "old.mp4": "old.mp4"}
    watch = FolderWatch(lambda: discover([folder]), 1, stored)
    assert told(watch, 0) == [("gone", "old.mp4")]
    assert told(watch, 1) == [("settled", "here.mp4")]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_rest_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="allowed: more than 0"):
        FolderWatch(list, seconds)
