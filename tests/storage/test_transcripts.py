"""Files of lines: committed, replaced, checked, backed up, taken in again, removed."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import NotFoundError
from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.parts import DamagedPartError
from engine.storage.repair import repair
from engine.storage.store import Store
from engine.storage.transcripts import Said
from schemas.tables import LINES


def said(source: str, *texts: str, digest: str = "0") -> Said:
    count = len(texts)
    columns = [[float(at) for at in range(count)], [at + 0.5 for at in range(count)], list(texts)]
    return Said(source, "en", digest, pa.table(columns, schema=LINES), damaged=1, damage="line 3")


def texts_of(store: Store) -> dict[tuple[int, str], list[str]]:
    known = store.transcripts.listed()
    return {
        (part.video_id, part.source): store.transcripts.read(part).column("text").to_pylist()
        for part in known
    }


@pytest.fixture
def store(store_with_two_videos: Store) -> Store:
    store_with_two_videos.transcripts.put(1, said("a.srt", "hello", "wörld\nтри"))
    store_with_two_videos.transcripts.put(2, said("stream 2", "third"))
    return store_with_two_videos


def test_lines_of_a_source_give_way_to_newer_ones(store: Store) -> None:
    former = store.transcripts.listed([1])[0]
    store.transcripts.put(1, said("a.srt", "again", digest="1"))
    store.transcripts.put(1, said("a.de.srt"))
    assert texts_of(store) == {
        (1, "a.srt"): ["again"], (1, "a.de.srt"): [], (2, "stream 2"): ["third"],
    }  # fmt: skip
    assert (former.damaged, former.damage, former.language) == (1, "line 3", "en")
    store.settle()
    assert not (store.layout.root / former.path).exists()
    assert store.verify() == []


def test_they_go_with_their_video_and_stay_with_its_names(store: Store) -> None:
    store.catalog.rename("b", "renamed")
    store.catalog.remove_video("a")
    store.settle()
    assert texts_of(store) == {(2, "stream 2"): ["third"]}
    assert len(list(store.layout.transcripts.rglob("*.parquet"))) == 1
    assert store.transcripts.remove(2, "stream 2") == 1
    with pytest.raises(NotFoundError, match="stream 2"):
        store.transcripts.remove(2, "stream 2")
    with pytest.raises(NotFoundError, match="no video 9"):
        store.transcripts.put(9, said("x.srt"))


def test_a_backup_has_them_and_drops_what_is_gone(tmp_path: Path, store: Store) -> None:
    store.settle()
    backup(store.layout.root, tmp_path / "backup")
    store.transcripts.put(2, said("stream 2", "new", digest="1"))
    store.settle()
    assert backup(store.layout.root, tmp_path / "backup").files == 2  # it, and the catalog
    assert len(list((tmp_path / "backup" / "transcripts").rglob("*.parquet"))) == 2
    restore(tmp_path / "backup", tmp_path / "again")
    assert check(tmp_path / "again").problems == []
    with Store.open(tmp_path / "again") as again:
        assert texts_of(again) == texts_of(store)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_what_is_damaged_is_said_and_left_out(store: Store, damage: str) -> None:
    part = store.transcripts.listed([1])[0]
    path = store.layout.root / part.path
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if damage == "cut" else data[:40] + b"\xff" + data[41:])
    assert [problem.video_id for problem in store.verify()] == [1]
    assert store.verify(2) == []
    store.settle()
    with Store.read(store.layout.root) as reader:
        assert reader.transcripts.lines(part) is None
    root = store.layout.root
    store.close()
    assert ["transcript" in problem.message for problem in check(root).problems] == [True]
    done = repair(root)
    assert len(done.condemned) == 1
    with Store.open(root) as again:
        assert list(texts_of(again)) == [(2, "stream 2")]
        assert again.verify() == []


def test_all_are_taken_in_from_the_files_alone(store: Store) -> None:
    before, root = texts_of(store), store.layout.root
    store.close()
    for path in [root / "catalog.duckdb", *(root / "published").iterdir()]:
        path.unlink()
    done = repair(root)
    assert sum(path.startswith("transcripts/") for path in done.taken_in) == 2
    with Store.open(root) as again:
        ids = {again.catalog.video(name).video_id: n for n, name in enumerate("ab", 1)}
        assert {(ids[v], s): texts for (v, s), texts in texts_of(again).items()} == before
        assert again.verify() == []


def test_one_that_was_finished_but_not_recorded_is_taken_in(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store.layout.root
    commit: Callable[..., None] = store.transcripts._commit
    monkeypatch.setattr(store.transcripts, "_commit", lambda _: None)  # as if killed there
    store.transcripts.put(2, said("b.srt", "late"))
    monkeypatch.setattr(store.transcripts, "_commit", commit)
    store.close()
    with Store.open(root) as again:
        assert texts_of(again)[2, "b.srt"] == ["late"]
        part = again.transcripts.listed([1])[0]
        stray = again.layout.transcript(part.part_id + 100)
        stray.write_bytes((root / part.path).read_bytes()[:-5])
    with Store.open(root) as again:
        assert not stray.exists()
        assert [path.name for path in again.layout.lost_and_found.iterdir()] == [stray.name]
        again.transcripts._checked.clear()
        (root / part.path).write_bytes(b"")
        with pytest.raises(DamagedPartError):
            again.transcripts.read(part)
        assert again.transcripts.lines(part) is None
        assert again.transcripts.listed([1]) == []
