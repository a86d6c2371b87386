"""Any number of processes read beside the one that writes, and where nothing can be written."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest

from engine.errors import StoreError
from engine.storage.check import check
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space
from tests.storage.conftest import SMALL

FORMER = Path(__file__).parent / "fixtures" / "store-v1.tar.xz"
MakeRows = Callable[..., Rows]


def test_readers_see_what_was_published(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, query = store_with_two_videos, make_rows(0, 1).embeddings[0]
    store.settle()
    with Store.read(store.layout.root) as reader, Store.read(store.layout.root) as another:
        assert reader.rows(space.key).equals(store.rows(space.key))
        store.write_part(1, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 7))
        assert len(store.rows(space.key)) == 50
        assert len(reader.rows(space.key)) == 40  # until the next is published
        found = another.search(space.key, query, 5)
        assert found.row_ids.tolist() == reader.search(space.key, query, 5).row_ids.tolist()
        assert {problem.kind for problem in reader.verify()} == set()
        with pytest.raises(StoreError, match="opened for reading"):
            reader.catalog.remove_video(1)
    store.settle()
    with Store.read(store.layout.root) as reader:
        assert len(reader.rows(space.key)) == 50


def test_a_reader_moves_on_where_its_files_have_gone(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, query = store_with_two_videos, make_rows(0, 1).embeddings[0]
    store.settle()
    with Store.read(store.layout.root) as reader:
        store.compact()  # publishes, and deletes the files that the reader has not read yet
        expected = store.search(space.key, query, 40)
        assert reader.search(space.key, query, 40).row_ids.tolist() == expected.row_ids.tolist()
        assert reader.verify() == []


def test_a_full_disk_keeps_the_files_of_the_former_copy(
    store_with_two_videos: Store,
    make_rows: MakeRows,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, vector = store_with_two_videos, make_rows(0, 1).embeddings[0]
    store.settle()
    log = store.layout.catalog_log
    with monkeypatch.context() as full:
        usage = shutil.disk_usage(store.layout.root)._replace(free=1000)
        full.setattr(shutil, "disk_usage", lambda _: usage)
        assert store.compact() == 3  # of four files, which the former copy names
        assert "MB are needed" in caplog.text
        assert log.exists()  # no checkpoint was begun: one that breaks off ends the connection
        with Store.read(store.layout.root) as reader:
            assert len(reader.search(space.key, vector, 99).row_ids) == 40
    store.settle()  # though nothing has changed since
    assert len(list(store.layout.parts.rglob("*.parquet"))) == 1
    with Store.read(store.layout.root) as reader:
        assert len(reader.search(space.key, vector, 99).row_ids) == 40


def test_a_reader_leaves_damaged_rows_out_and_says_so(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    store.settle()
    part = next(store.layout.parts.rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with Store.read(store.layout.root) as reader:
        assert len(reader.search(space.key, make_rows(0, 1).embeddings[0], 99).row_ids) == 30
        assert len(reader.rows(space.key, columns=["row_id", "embedding"])) == 30
        found = reader.lacking(space.key, reader.view(space.key), np.array([1, 2]), 9)
        [lacking] = found.first
        assert found.count == 1
        assert (lacking.embedded, lacking.planned, lacking.state) == (10, 20, "partial")
        assert [problem.kind for problem in reader.verify(lacking.video_id)] == ["damaged"]
    assert part.exists()


def test_a_view_stays_until_what_it_shows_changes(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, catalog = store_with_two_videos, store_with_two_videos.catalog
    held, names = store.view(space.key), catalog.video_names()
    catalog.update_job(catalog.add_job("ingest", {}), progress={"done": 1})
    catalog.set_calibration(space.key, "passing", {"passed": {}})
    catalog.save_view("some", "SELECT 1")
    catalog.drop_view("some")
    assert store.view(space.key) is held
    assert catalog.video_names() is names
    assert "camera" not in catalog.video_table().schema.names
    for change in (
        lambda: catalog.set_values([1], {"camera": "north"}),
        lambda: store.supersede(space.key, 1, np.array([3]), make_rows(0, 1, 99).embeddings),
        lambda: catalog.set_status(1, "ingesting"),
        lambda: catalog.remove_video(2),
    ):
        change()
        now = store.view(space.key)
        assert now is not held
        assert now.videos.equals(catalog.video_table())
        held = now
    assert catalog.video_table().column("camera").to_pylist() == ["north"]
    assert list(catalog.video_names()) == [1]


@pytest.mark.parametrize("change", ["removed", "name taken", "entered again", "moved on"])
def test_groups_of_pictures_are_those_of_the_moment(
    change: str, store_with_two_videos: Store, make_info: Callable[[str], VideoInfo], space: Space
) -> None:
    store, catalog = store_with_two_videos, store_with_two_videos.catalog
    gops = [Gop(number, number, number + 1.0, 30, number) for number in range(3)]
    info = make_info("/videos/c.mp4")
    video = catalog.enter(info, "c" * 64, "c.mp4", gops=gops).video_id
    store.settle()
    with Store.read(store.layout.root) as reader:
        view = (reader if change == "moved on" else store).view(space.key, vectors=False)
        if change == "name taken":
            catalog.enter(info, "d" * 64, "c.mp4", gops=gops[:1])
        elif change == "entered again":
            catalog.enter(info, "c" * 64, "c.mp4", gops=gops[:1])
        else:
            catalog.remove_video(video)
        if change == "moved on":
            store.compact()  # publishes, and deletes the files that the reader has not read yet
            reader.search(space.key, np.eye(8, dtype=np.float32)[0], 5)
            assert video not in reader.catalog.video_ids()
        assert view.gops_of(np.array([video])).column("gop").to_pylist() == [0, 1, 2]


def test_an_index_is_followed_in_memory(
    tmp_path: Path, store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    store.build_index(space.key)
    store.settle()
    with Store.read(store.layout.root, tuning=SMALL) as reader:
        assert "flat" in reader.search(space.key, make_rows(0, 1).embeddings[0], 1).index
        assert reader.index_status()[0].num_indexed == 40


def test_what_a_reader_measures_it_keeps_for_itself(
    store_with_two_videos: Store, space: Space
) -> None:
    store = store_with_two_videos
    store.settle()
    with Store.read(store.layout.root) as reader:
        reader.catalog.set_calibration(space.key, "null", {"middle": 1.0})
        assert reader.catalog.calibration(space.key, "null") == {"middle": 1.0}
    assert store.catalog.calibration(space.key, "null") is None


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
import numpy as np
from engine.storage.check import check
from engine.storage.store import Store
root, space = Path(sys.argv[1]), sys.argv[2]
vector = np.load(sys.argv[3])
Store.read(root).close()  # what is imported late is there before rights are given up
if os.getuid() == 0:
    os.setuid(65534)  # rights do not hold for root
with Store.read(root) as reader:
    found = reader.search(space, vector, 99)
    print(len(np.unique(found.row_ids)), reader.verify(), check(root).problems)
"""


def test_a_folder_that_cannot_be_written_is_read(
    tmp_path: Path, store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    root = store_with_two_videos.layout.root
    store_with_two_videos.close()
    expected = sorted(path.relative_to(root) for path in root.rglob("*"))
    np.save(tmp_path / "vector.npy", make_rows(0, 1).embeddings[0])
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to(gettempdir()) and path != Path(gettempdir()):
            path.chmod(0o755)
    script = [sys.executable, "-c", READ_AS_NOBODY, copy, space.key, tmp_path / "vector.npy"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.stdout == "40 [] []\n", done.stderr
    assert sorted(path.relative_to(copy) for path in copy.rglob("*")) == expected


def test_a_folder_with_nothing_published_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing has been published"):
        Store.read(tmp_path)


def test_check_beside_a_writer(store_with_two_videos: Store) -> None:
    store_with_two_videos.settle()
    assert check(store_with_two_videos.layout.root).problems == []
    part = next(store_with_two_videos.layout.parts.rglob("*.parquet"))
    part.unlink()
    looked = check(store_with_two_videos.layout.root)
    assert [problem.kind for problem in looked.problems] == ["missing"]


def test_check_says_how_much_it_has_read(store_with_two_videos: Store) -> None:
    root = store_with_two_videos.layout.root
    store_with_two_videos.close()
    looked = check(root)
    assert (looked.parts.read, looked.parts.parts, looked.whole) == (4, 4, True)
    part = next((root / "parts").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    looked = check(root, seconds=0)  # too short for a part: only sizes are compared
    assert (looked.problems, looked.parts.read, looked.whole) == ([], 0, False)
    part.write_bytes(b"short")
    assert [problem.kind for problem in check(root, seconds=0).problems] == ["damaged"]


def test_check_changes_nothing(store_with_two_videos: Store, tmp_path: Path) -> None:
    root = store_with_two_videos.layout.root
    killed = Path(shutil.copytree(root, tmp_path / "killed"))  # with its log
    assert (killed / "catalog.duckdb.wal").stat().st_size
    store_with_two_videos.close()
    with tarfile.open(FORMER) as archive:
        archive.extractall(tmp_path, filter="data")
    for folder, kinds in (
        (root, set()),
        (killed, set()),
        (tmp_path / "store", {"copy", "catalog"}),
    ):
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        before = {path: path.read_bytes() for path in files if path.name != "lock"}
        assert {problem.kind for problem in check(folder).problems} == kinds
        assert {path: path.read_bytes() for path in before} == before
        assert {path for path in folder.rglob("*") if path.is_file()} - before.keys() <= {
            folder / "lock"
        }
