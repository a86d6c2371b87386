"""A backup is a store of one moment; damage is left out and said."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from engine.errors import NotFoundError, StoreError
from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.repair import repair
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


def test_a_backup_of_another_store_is_refused(
    tmp_path: Path, store_with_two_videos: Store, space: Space
) -> None:
    root, target = store_with_two_videos.layout.root, tmp_path / "backup"
    store_with_two_videos.close()
    with Store.open(tmp_path / "other") as other:
        other.catalog.add_space(space)
    backup(root, target)
    before = bytes_of(target)
    with pytest.raises(StoreError, match="is a backup of another store; nothing was copied"):
        backup(tmp_path / "other", target)
    (target / "backup").write_text("")  # as an earlier version wrote it
    with pytest.raises(StoreError, match="is a backup of another store"):
        backup(tmp_path / "other", target)
    assert bytes_of(target) == {**before, target / "backup": b""}
    [copy] = (target / "published").iterdir()
    forget_identity(copy)
    with pytest.raises(StoreError, match="is a backup of another store"):
        backup(tmp_path / "other", target)


def test_a_backup_of_an_earlier_version_is_gone_on_with(
    tmp_path: Path, store_with_two_videos: Store
) -> None:
    root, target = store_with_two_videos.layout.root, tmp_path / "backup"
    store_with_two_videos.close()
    backup(root, target)
    (target / "backup").write_text("")
    [copy] = (target / "published").iterdir()
    forget_identity(copy)
    done = backup(root, target)
    assert (done.files, done.kept) == (1, 4)
    assert (target / "backup").read_text()
    forget_identity(target / "catalog.duckdb")  # and then given another when it was opened
    (target / "backup").write_text("")
    Store.open(target).close()
    with Store.open(root) as store:
        store.catalog.rename("a", "c")
    backup(root, target)
    assert check(target).problems == []


def test_a_damaged_copy_of_the_catalog_is_not_handed_on(
    tmp_path: Path, store_with_two_videos: Store
) -> None:
    root, target = store_with_two_videos.layout.root, tmp_path / "backup"
    store_with_two_videos.close()
    backup(root, target)
    [copy] = (target / "published").iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="is not what was published; nothing was copied"):
        restore(target, tmp_path / "new")
    assert backup(root, target).files == 1
    assert copy.read_bytes() == whole
    restore(target, tmp_path / "new")


def test_a_later_state_is_not_written_over(tmp_path: Path, store_with_two_videos: Store) -> None:
    root, target = store_with_two_videos.layout.root, tmp_path / "backup"
    store_with_two_videos.close()
    backup(root, target)
    restore(target, tmp_path / "clone")
    with Store.open(root) as store:
        store.catalog.rename("a", "c")
    backup(root, target)
    with pytest.raises(StoreError, match="of this store, which comes after 0000"):
        backup(tmp_path / "clone", target)


def test_a_restore_that_was_broken_off_goes_on(
    tmp_path: Path, store_with_two_videos: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, target, new = store_with_two_videos.layout.root, tmp_path / "backup", tmp_path / "new"
    store_with_two_videos.close()
    backup(root, target)
    copyfile = shutil.copyfile
    left = 1

    def copy(source: Path, to: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            Path(to).write_bytes(b"half")
            raise KeyboardInterrupt
        copyfile(source, to)

    monkeypatch.setattr("engine.storage.backup.shutil.copyfile", copy)
    for _ in range(5):  # each gets one file further: four parts, the copy, then the catalog
        left = 1
        with pytest.raises(KeyboardInterrupt):
            restore(target, new)
        for use in (Store.open, Store.read, repair):
            with pytest.raises(StoreError, match=f"store restore {target} --data {new}"):
                use(new)
        assert [problem.kind for problem in check(new).problems] == ["restore"]
    left = 1
    assert restore(target, new).kept == 5
    assert check(new).problems == []
    with pytest.raises(StoreError, match="is not empty"):
        restore(target, new)


def bytes_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def forget_identity(catalog: Path) -> None:
    """Make a catalog what one of an earlier version is."""
    with duckdb.connect(str(catalog)) as connection:
        connection.execute("DELETE FROM settings WHERE name = 'store'")
