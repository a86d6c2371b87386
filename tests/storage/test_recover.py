"""Opening a folder deletes nothing that was finished, and says what it cannot place."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import StoreError
from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.repair import repair
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

MakeRows = Callable[..., Rows]
MakeInfo = Callable[[str], VideoInfo]


def table_of(store: Store, space: Space) -> pa.Table:
    columns = ["video_id", "frame", "seconds", "strategy", "exact", "embedding"]
    return store.rows(space.key, columns=columns)


def parts_of(root: Path) -> list[Path]:
    return sorted((root / "parts").rglob("*.parquet"))


@pytest.fixture
def closed(store_with_two_videos: Store, space: Space) -> tuple[Path, pa.Table]:
    """A folder that nobody holds, and the rows in it."""
    store = store_with_two_videos
    table = table_of(store, space)
    store.close()
    return store.layout.root, table


def test_temporary_files_go_and_nothing_else(closed: tuple[Path, pa.Table], space: Space) -> None:
    root, rows = closed
    newest = parts_of(root)[-1]
    half = newest.with_name(".0000000009.parquet.tmp")
    half.touch()
    torn = newest.with_name("0000000010.parquet")
    torn.write_bytes(newest.read_bytes()[:-30])
    stray = root / "parts" / "stray"
    stray.touch()
    with Store.open(root) as store:
        assert not half.exists()
        assert (root / "lost+found" / torn.name).read_bytes() == newest.read_bytes()[:-30]
        assert [problem.kind for problem in store.verify()] == ["stray"]
        assert stray.exists()
        assert table_of(store, space).equals(rows)


def test_a_checkpoint_after_an_ingest_makes_the_log_dispensable(
    store_with_two_videos: Store, space: Space, tmp_path: Path
) -> None:
    store_with_two_videos.settle()
    rows = table_of(store_with_two_videos, space)
    copy = Path(shutil.copytree(store_with_two_videos.layout.root, tmp_path / "copy"))
    (copy / "catalog.duckdb.wal").unlink(missing_ok=True)
    with Store.open(copy) as store:
        assert table_of(store, space).equals(rows)
        assert store.verify() == []


@pytest.mark.parametrize("left", [0.0, 0.3, 0.7, 0.95])
def test_a_log_that_was_cut_loses_no_part(
    left: float, store_with_two_videos: Store, space: Space, tmp_path: Path
) -> None:
    """A folder is copied while it is written, as after a kill, and its log is cut."""
    rows = table_of(store_with_two_videos, space)
    copy = Path(shutil.copytree(store_with_two_videos.layout.root, tmp_path / "copy"))
    log = copy / "catalog.duckdb.wal"
    log.write_bytes(log.read_bytes()[: int(left * log.stat().st_size)])
    kept = [path.read_bytes() for path in parts_of(copy)]
    with contextlib.suppress(StoreError):  # that says how to go on
        Store.open(copy).close()
    assert [path.read_bytes() for path in parts_of(copy)] == kept
    repair(copy)
    with Store.open(copy) as store:
        assert table_of(store, space).equals(rows)
        assert {problem.kind for problem in store.verify()} <= {"incomplete"}


def test_an_older_catalog_is_refused_and_repaired(
    closed: tuple[Path, pa.Table], space: Space, make_rows: MakeRows, make_info: MakeInfo
) -> None:
    root, _ = closed
    older = (root / "catalog.duckdb").read_bytes()
    with Store.open(root) as store:
        video_id = store.catalog.add_video(make_info("/late.mp4"), "hash late", "late")
        args = (video_id, space.key, Sampling(2), "dense")
        store.write_part(*args, 0, 0.0, 5.0, make_rows(0, 10, 70, exact=True))
        store.finish_segment(*args, 10)
        rows = table_of(store, space)
    (root / "catalog.duckdb").write_bytes(older)
    shutil.rmtree(root / "published")
    kept = parts_of(root)
    with pytest.raises(StoreError, match=r"1 finished parts .*\(late\).*store repair"):
        Store.open(root)
    assert parts_of(root) == kept
    report = repair(root)
    assert len(report.taken_in) == 1
    with Store.open(root) as store:
        assert table_of(store, space).equals(rows)
        assert store.catalog.video("late").path == "/late.mp4"
        again = store.catalog.add_video(make_info("/new.mp4"), "hash new", "new")
        assert again > video_id  # no number is given twice


@pytest.mark.parametrize("damage", ["gone", "cut", "noise"])
@pytest.mark.parametrize("copy", [True, False])
def test_the_catalog_comes_back_from_the_parts_alone(
    damage: str, copy: bool, closed: tuple[Path, pa.Table], space: Space
) -> None:
    root, rows = closed
    catalog = root / "catalog.duckdb"
    content = catalog.read_bytes()
    catalog.unlink()
    if damage != "gone":
        half = content[: len(content) // 3]
        catalog.write_bytes(half if damage == "cut" else b"\xff" * len(content))
    if not copy:
        shutil.rmtree(root / "published")
    with pytest.raises(StoreError, match="store repair"):
        Store.open(root)
    repair(root)
    with Store.open(root) as store:
        assert table_of(store, space).equals(rows)
        assert store.verify() == []
        assert [video.name for video in store.catalog.videos()] == ["a", "b"]
        assert [video.status for video in store.catalog.videos()] == ["ready", "ready"]
        assert len(store.catalog.gops(1)) == 2
        current = store.catalog.current_space()
        assert current is not None
        assert current.key == space.key
        states = {found.state for found in store.completeness(space.key)}
        assert states == {"complete"}


def test_overlays_and_compacted_parts_come_back_too(
    store_with_two_videos: Store, space: Space, make_rows: MakeRows
) -> None:
    store, exact = store_with_two_videos, make_rows(0, 2, 5).embeddings
    store.compact()
    store.supersede(space.key, 1, np.array([2, 12]), exact)
    rows = table_of(store, space)
    store.close()
    root = store.layout.root
    shutil.rmtree(root / "published")
    (root / "catalog.duckdb").unlink()
    repair(root)
    with Store.open(root) as again:
        assert table_of(again, space).equals(rows)
        assert again.committed_stretches(2, space.key, Sampling(2), "reusevit") == {0, 1}


def test_what_a_killed_process_committed_reaches_readers_and_backups(
    store_with_two_videos: Store, tmp_path: Path
) -> None:
    root, killed = store_with_two_videos.layout.root, tmp_path / "killed"
    store_with_two_videos.settle()
    store_with_two_videos.catalog.rename("a", "late")
    shutil.copytree(root, killed)  # with its log, as a kill leaves it
    backup(killed, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")
    for folder in (killed, tmp_path / "again"):
        with Store.read(folder) as reader:
            assert {video.name for video in reader.catalog.videos()} == {"late", "b"}
        assert check(folder).problems == []


def test_a_repair_says_that_it_publishes(closed: tuple[Path, pa.Table]) -> None:
    root, _ = closed
    assert not repair(root).changed
    for copy in (root / "published").iterdir():
        copy.unlink()
    assert [problem.kind for problem in check(root).problems] == ["copy"]
    assert repair(root).published
    assert not repair(root).changed


def test_a_video_that_was_only_labelled_is_not_said_to_lack_rows(
    empty_store: Store, space: Space, make_rows: MakeRows, make_info: MakeInfo
) -> None:
    labels = replace(space, name="labels")
    empty_store.catalog.add_space(labels)
    for name, embedded in (("seen", False), ("kept", True)):
        video_id = empty_store.catalog.add_video(make_info(f"/{name}.mp4"), f"hash {name}", name)
        gops = [Gop(i, i * 5.0, i * 5.0 + 5, 9, i) for i in (0, 1)]
        empty_store.catalog.add_gops(video_id, gops)  # labels of the first 5 seconds were asked for
        keys = [labels.key, space.key] if embedded else [labels.key]
        for key in keys:
            if key == space.key:
                empty_store.catalog.set_status(video_id, "ingesting")
            stream = (video_id, key, Sampling(2), "dense")
            stop = 10.0 if key == space.key else 5.0
            empty_store.write_part(*stream, 0, 0.0, stop, make_rows(0, 20, video_id))
            empty_store.finish_segment(*stream, 20)
    empty_store.catalog.set_status(2, "ready")
    root = empty_store.layout.root
    empty_store.close()
    before = check(root).problems
    (root / "catalog.duckdb").unlink()
    shutil.rmtree(root / "published")
    assert repair(root).catalog == "from the parts alone"
    assert check(root).problems == before == []
    with Store.open(root) as store:
        statuses = {video.name: video.status for video in store.catalog.videos()}
        assert statuses == {"seen": "registered", "kept": "ready"}
        assert store.catalog.current_space() == store.catalog.space(space.key)
        states = {found.name: found.state for found in store.completeness(space.key)}
        assert states == {"seen": "registered", "kept": "complete"}
