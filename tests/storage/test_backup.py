"""A backup is a store of one moment; damage is left out and said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import NotFoundError, StoreError
from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.vision.backbone.space import Space

MakeRows = Callable[..., Rows]


def test_a_backup_beside_a_writer_comes_back(
    tmp_path: Path, store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    store.build_index(space.key)
    store.settle()
    rows = store.rows(space.key)
    store.write_part(1, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 7))
    (store.layout.uploads).mkdir()
    (store.layout.uploads / "sent.mp4").write_bytes(b"bytes")
    done = backup(store.layout.root, tmp_path / "backup")
    assert (done.damaged, done.kept) == ([], 0)
    assert restore(tmp_path / "backup", tmp_path / "again").damaged == []
    assert check(tmp_path / "again").problems == []
    with Store.open(tmp_path / "again") as again:
        assert again.rows(space.key).equals(rows)
        assert (again.layout.uploads / "sent.mp4").read_bytes() == b"bytes"


def test_the_next_backup_copies_what_is_new_and_drops_what_is_gone(
    tmp_path: Path, store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, target = store_with_two_videos, tmp_path / "backup"
    store.settle()
    backup(store.layout.root, target)
    store.catalog.remove_video("a")
    store.write_part(2, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 7))
    store.settle()
    done = backup(store.layout.root, target)
    assert (done.files, done.kept) == (2, 2)  # a part and the catalog are new, two parts are not
    assert len(list((target / "parts").rglob("*.parquet"))) == 3
    restore(target, tmp_path / "again")
    assert check(tmp_path / "again").problems == []


def test_damage_is_left_out_and_said(tmp_path: Path, store_with_two_videos: Store) -> None:
    store = store_with_two_videos
    store.settle()
    one, two = sorted(store.layout.parts.rglob("*.parquet"))[:2]
    one.write_bytes(one.read_bytes()[:-1] + b"x")
    two.unlink()
    done = backup(store.layout.root, tmp_path / "backup")
    assert done.damaged == [
        f"{one.name} is not what was written",
        f"{store.layout.relative(two)} is gone",
    ]


def test_no_folder_is_written_over(tmp_path: Path, store_with_two_videos: Store) -> None:
    root = store_with_two_videos.layout.root
    store_with_two_videos.close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(StoreError, match="neither empty nor a backup"):
        backup(root, tmp_path / "full")
    (tmp_path / "link").symlink_to(root)
    for inside in (root, root / "backup", tmp_path / "link" / "new" / "backup"):
        with pytest.raises(StoreError, match="lies in the store"):
            backup(root, inside)
    assert not (root / "backup").exists()
    backup(root, tmp_path / "backup")
    with pytest.raises(StoreError, match="lies in the backup"):
        restore(tmp_path / "backup", tmp_path / "backup" / "new")
    with pytest.raises(StoreError, match="is not empty"):
        restore(tmp_path / "backup", root)
    with pytest.raises(NotFoundError, match="no backup"):
        restore(tmp_path / "full", tmp_path / "new")
    with pytest.raises(NotFoundError, match="no data folder"):
        backup(tmp_path / "none", tmp_path / "other")
