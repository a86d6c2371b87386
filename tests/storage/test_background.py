"""Long work leaves the writers' lock, and the folder, to others."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from engine.storage import backup as backups
from engine.storage import compact as compaction
from engine.storage import indexing
from engine.storage.backup import backup, restore
from engine.storage.check import check
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.vision.backbone.space import Space
from tests.waiting import LONG

MakeRows = Callable[..., Rows]
Act = Callable[[Store, Space, MakeRows], Any]


def supersede(store: Store, space: Space, make_rows: MakeRows) -> None:
    store.supersede(space.key, 1, np.array([3, 12]), make_rows(0, 2, 99).embeddings)


def add(store: Store, space: Space, make_rows: MakeRows) -> None:
    store.write_part(2, space.key, Sampling(2), "reusevit", 2, 10.0, 15.0, make_rows(20, 30, 77))


def remove(store: Store, space: Space, make_rows: MakeRows) -> None:
    store.catalog.remove_video(2)


def forget(store: Store, space: Space, make_rows: MakeRows) -> None:
    store.remove_space(space.key)


def fold(store: Store, space: Space, make_rows: MakeRows) -> None:
    store.compact()
    store.settle()


ACTS = [supersede, add, remove, forget, fold]


class Meanwhile:
    """Does something in another thread, once, and waits until it is done."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act, self.done = act, False

    def __call__(self) -> None:
        if self.done:
            return
        self.done = True
        thread = Thread(target=self.act, daemon=True)
        thread.start()
        thread.join(LONG)
        assert not thread.is_alive(), "the lock is held"


def as_it_would_be(store: Store, space: Space) -> None:
    """What is seen is whole, and searches see just that."""
    kinds = {problem.kind for problem in store.verify()}
    if not store.catalog.spaces():
        assert kinds == {"incomplete"}
        return
    assert not kinds
    rows = store.rows(space.key, columns=["row_id", "embedding"])
    vectors = np.stack(rows.column("embedding").to_numpy(zero_copy_only=False))
    query = vectors[0].astype(np.float32) / np.linalg.norm(vectors[0].astype(np.float32))
    found = store.scores(space.key, query)
    order = np.argsort(found.row_ids)
    assert found.row_ids[order].tolist() == rows.column("row_id").to_pylist()
    assert np.allclose(found.scores[order], vectors.astype(np.float32) @ query, atol=1e-3)


@pytest.mark.parametrize("act", ACTS[:4])
def test_others_write_between_the_groups_of_a_compaction(
    act: Act,
    store_with_two_videos: Store,
    make_rows: MakeRows,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = store_with_two_videos
    store.load_index(space.key)
    monkeypatch.setattr(compaction, "FULL_ROWS", 20)
    meanwhile = Meanwhile(lambda: act(store, space, make_rows))
    monkeypatch.setattr(compaction, "sleep", lambda _: meanwhile())
    store.compact()
    assert meanwhile.done
    as_it_would_be(store, space)


@pytest.mark.parametrize("act", ACTS)
def test_others_write_while_a_group_is_read(
    act: Act,
    store_with_two_videos: Store,
    make_rows: MakeRows,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, read = store_with_two_videos, store_with_two_videos._files.readable
    meanwhile = Meanwhile(lambda: act(store, space, make_rows))

    def slowly(*args: Any) -> Any:
        table = read(*args)
        meanwhile()
        return table

    with monkeypatch.context() as slow:
        slow.setattr(store._files, "readable", slowly)
        store.compact()
    assert meanwhile.done
    as_it_would_be(store, space)


@pytest.mark.parametrize("act", ACTS)
def test_others_write_while_an_index_is_built(
    act: Act,
    tmp_path: Path,
    store_with_two_videos: Store,
    make_rows: MakeRows,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, build = store_with_two_videos, indexing.vectors.build
    meanwhile = Meanwhile(lambda: act(store, space, make_rows))

    def slowly(*args: Any) -> Any:
        meanwhile()
        return build(*args)

    with monkeypatch.context() as slow:
        slow.setattr(indexing.vectors, "build", slowly)
        store._indexes.build(store.catalog.space(space.key))
    assert meanwhile.done
    as_it_would_be(store, space)
    store.close()
    with Store.open(tmp_path / "data") as again:
        as_it_would_be(again, space)


def test_another_process_may_write_while_a_backup_is_made(
    tmp_path: Path, store_with_two_videos: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, copy = store_with_two_videos.layout.root, backups._copy_file
    store_with_two_videos.close()

    def change() -> None:
        with Store.open(root) as store:
            store.catalog.rename("a", "renamed")
            store.compact()

    meanwhile = Meanwhile(change)

    def slowly(*args: Any) -> None:
        copy(*args)
        meanwhile()

    monkeypatch.setattr(backups, "_copy_file", slowly)
    assert backup(root, tmp_path / "backup").damaged == []
    restore(tmp_path / "backup", tmp_path / "again")
    assert check(tmp_path / "again").problems == []
    with Store.open(tmp_path / "again") as again:
        assert len(again.catalog.videos()) == 2
