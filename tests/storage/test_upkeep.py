"""Compaction, verification, sweeping, and an index that is damaged or gone."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.storage.compact import MAX_OVERLAYS
from engine.storage.ledger import Ledger
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

MakeRows = Callable[..., Rows]


def parts_of(store: Store, video_id: int) -> list[Path]:
    store.settle()
    root = store.layout.root
    named = {part.path for part in Ledger(store.catalog._database).parts(video_id=video_id)}
    return sorted(
        p for p in store.layout.parts.rglob("*.parquet") if str(p.relative_to(root)) in named
    )


def test_compaction_folds_parts_and_overlays(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    store.supersede(space.key, 1, np.array([2, 12]), make_rows(0, 2, 5).embeddings)
    before = store.rows(space.key, columns=["row_id", "strategy", "exact", "embedding"])
    assert store.compact() == 4
    assert parts_of(store, 1) == parts_of(store, 2) == list(store.layout.parts.rglob("*.parquet"))
    assert store.rows(space.key, columns=before.schema.names).equals(before)
    assert store.committed_stretches(1, space.key, Sampling(2), "reusevit") == {0, 1}
    assert store.verify() == []
    assert store.compact() == 0


def test_many_overlays_are_folded_without_being_asked(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    for seed in range(MAX_OVERLAYS + 1):
        vectors = make_rows(0, 2, seed).embeddings
        store_with_two_videos.supersede(space.key, 1, np.array([4, 9]), vectors)
    assert len(parts_of(store_with_two_videos, 1)) == 1
    row_ids = (1 << 32) + np.array([4, 9])
    assert np.allclose(store_with_two_videos.vectors(space.key, row_ids), vectors, atol=1e-3)
    assert store_with_two_videos.verify() == []


def test_compaction_leaves_a_hidden_sampling_alone(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, args = store_with_two_videos, (1, space.key, Sampling(4), "dense")
    for stretch in range(2):
        rows = make_rows(stretch * 5, stretch * 5 + 5)
        store.write_part(*args, stretch, 0.0, 1.0, rows)
    store.compact()
    assert len(parts_of(store, 1)) == 3
    store.finish_segment(*args, 10)
    assert len(store.rows(space.key, [1])) == 10
    assert store.verify() == []


def test_compaction_keeps_the_index_as_it_is(
    tmp_path: Path, store_with_two_videos: Store, space: Space
) -> None:
    store_with_two_videos.build_index(space.key)
    store_with_two_videos.compact()
    store_with_two_videos.close()
    with Store.open(tmp_path / "data") as store:
        status = store.index_status()[0]
        assert (status.num_indexed, status.num_delta, status.num_tombstones) == (40, 0, 0)


def test_verify_finds_damage(
    store_with_two_videos: Store, make_info: Callable[[str], VideoInfo], space: Space
) -> None:
    store = store_with_two_videos
    gone, changed = parts_of(store, 1)
    gone.unlink()
    with changed.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    (store.layout.parts / "stray").touch()
    ready = store.catalog.add_video(make_info("/c.mp4"), "hash c", "c")
    store.catalog.set_status(ready, "ready")
    found = {(problem.video_id, problem.kind) for problem in store.verify()}
    assert found == {(None, "stray"), (1, "missing"), (1, "damaged"), (ready, "incomplete")}
    assert [problem.kind for problem in store.verify(2)] == []
    assert store.verify(1) == store.verify(1)  # it only looks


def test_verify_counts_against_what_was_promised(
    store_with_two_videos: Store, space: Space
) -> None:
    store_with_two_videos.finish_segment(1, space.key, Sampling(2), "reusevit", 23)
    problems = store_with_two_videos.verify(1)
    assert [problem.message for problem in problems] == [
        f"a in space {space.key}: 3 of 23 rows are missing; ingest it again"
    ]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_index_is_built_afresh_and_said(
    damage: str,
    tmp_path: Path,
    store_with_two_videos: Store,
    make_rows: MakeRows,
    space: Space,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, query = store_with_two_videos, make_rows(0, 1).embeddings[0]
    store.build_index(space.key)
    expected = store.search(space.key, query, 5).row_ids.tolist()
    store.close()
    (path,) = (tmp_path / "data" / "indexes").rglob("*.faiss")
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-100] if damage == "cut" else content[:-9] + b"x" * 9)
    with Store.open(tmp_path / "data") as again, caplog.at_level(logging.WARNING):
        assert [problem.kind for problem in again.verify()] == ["index"]
        assert again.search(space.key, query, 5).row_ids.tolist() == expected
        assert "is built afresh" in caplog.text
        assert again.build_index(space.key).state == "ready"
        assert again.verify() == []
