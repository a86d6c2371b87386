"""Notes that are damaged are named, kept, and never believed."""

import json
import random
from pathlib import Path

import pytest

from engine.storage.backup import backup
from engine.storage.check import check
from engine.storage.repair import repair
from engine.storage.store import Store


@pytest.fixture
def noted(store_with_two_videos: Store) -> Path:
    store_with_two_videos.catalog.set_values([1], {"camera": "north"})
    store_with_two_videos.close()
    return store_with_two_videos.layout.root


def flip(path: Path, at: int, bit: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("seed", range(2))
def test_no_flipped_bit_locks_the_store_or_is_believed(noted: Path, seed: int) -> None:
    notes = noted / "notes.json"
    whole = notes.read_bytes()
    chosen = random.Random(seed)
    inside = whole.index(b"north") + 2
    where = (chosen.randrange(len(whole)), 7) if seed % 2 else (inside, chosen.randrange(3))
    damaged = flip(notes, *where)
    problems = check(noted).problems
    assert [problem.kind for problem in problems] == ["notes"]
    assert "notes.json is damaged" in problems[0].message
    with Store.open(noted) as store:
        store.catalog.set_values([1], {"camera": "north", "note": "seen"})
    assert (noted / "lost+found" / "notes.json").read_bytes() == damaged
    assert json.loads(notes.read_text())["videos"]["hash a"]["cells"]["camera"] == "north"
    assert check(noted).problems == []
    flip(notes, *where)
    assert "notes.json is damaged" in "".join(repair(noted).set_aside)
    assert check(noted).problems == []


def test_repair_from_parts_believes_no_damaged_notes(noted: Path) -> None:
    notes = noted / "notes.json"
    damaged = flip(notes, notes.read_bytes().index(b"north") + 2, 0)
    for path in [noted / "catalog.duckdb", *(noted / "published").iterdir()]:
        path.unlink()
    assert "notes.json is damaged" in "".join(repair(noted).set_aside)
    with Store.open(noted) as store:
        assert [dict(video.columns) for video in store.catalog.videos()] == [{}, {}]
    assert (noted / "lost+found" / "notes.json").read_bytes() == damaged


def test_what_is_no_file_is_set_aside_too(noted: Path, tmp_path: Path) -> None:
    backup(noted, tmp_path / "backup")
    for root in (noted, tmp_path / "backup"):
        (root / "notes.json").unlink()
        (root / "notes.json").mkdir()
    assert [problem.kind for problem in check(noted).problems] == ["notes"]
    with Store.open(noted) as store:
        store.catalog.set_values([2], {"camera": "south"})
    backup(noted, tmp_path / "backup")
    for root in (noted, tmp_path / "backup"):
        assert json.loads((root / "notes.json").read_text())["columns"] == {"camera": "text"}
