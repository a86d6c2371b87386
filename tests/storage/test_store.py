"""Rows in, rows out: stretches, samplings, exact over approximate, removal, search."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import NotFoundError, StoreError, UsageError
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.vision.backbone.space import Space

MakeRows = Callable[..., Rows]
MakeVectors = Callable[[int, int], np.ndarray]


def test_rows_come_back_as_they_went_in(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    table = store_with_two_videos.rows(space.key, [1], ["row_id", "seconds", "drift", "embedding"])
    assert table.column("row_id").to_pylist() == [(1 << 32) + frame for frame in range(20)]
    assert table.column("seconds").to_pylist() == [frame / 2 for frame in range(20)]
    assert table.column("drift").null_count == 20
    given = make_rows(0, 10, 10).embeddings.astype(np.float16).tolist()
    assert table.column("embedding").to_pylist()[:10] == given


def test_a_committed_stretch_is_left_alone(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    before = store_with_two_videos.rows(space.key, columns=["row_id", "embedding"])
    args = (1, space.key, Sampling(2), "reusevit")
    store_with_two_videos.write_part(*args, 0, 0.0, 5.0, make_rows(0, 10, 99))
    assert store_with_two_videos.committed_stretches(*args) == {0, 1}
    assert store_with_two_videos.rows(space.key, columns=["row_id", "embedding"]).equals(before)


def test_a_stretch_without_frames_counts_as_done(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    args = (1, space.key, Sampling(2), "reusevit")
    store_with_two_videos.write_part(*args, 2, 10.0, 10.1, make_rows(20, 20))
    assert store_with_two_videos.committed_stretches(*args) == {0, 1, 2}
    assert store_with_two_videos.verify() == []


def test_exact_rows_are_seen_and_approximate_ones_do_not_replace_them(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    exact = make_rows(5, 15, 50, exact=True)
    store_with_two_videos.search(space.key, exact.embeddings[0], 1)
    store_with_two_videos.write_part(1, space.key, Sampling(2), "dense", 0, 0.0, 10.0, exact)
    store_with_two_videos.write_part(
        1, space.key, Sampling(2), "other", 0, 0.0, 10.0, make_rows(0, 20, 51)
    )
    table = store_with_two_videos.rows(space.key, [1])
    expected = ["other"] * 5 + ["dense"] * 10 + ["other"] * 5
    assert table.column("strategy").to_pylist() == expected
    hits = store_with_two_videos.search(space.key, exact.embeddings[3], 1)
    assert hits.row_ids.tolist() == [(1 << 32) + 8]
    assert hits.scores[0] == pytest.approx(1, abs=1e-3)


def test_another_sampling_is_seen_only_when_it_is_whole(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store, rows = store_with_two_videos, make_rows(0, 30, 60)
    args = (1, space.key, Sampling(4), "dense")
    store.load_index(space.key)
    store.write_part(*args, 0, 0.0, 10.0, rows)
    assert len(store.rows(space.key, [1])) == 20
    assert [(s.sampling, s.shown) for s in store.catalog.segments(1, space.key)] == [
        (Sampling(2), True),
        (Sampling(4), False),
    ]
    store.finish_segment(*args, 30)
    assert len(store.rows(space.key, [1])) == 30
    assert [s.sampling for s in store.catalog.stretches(1, space.key)] == [Sampling(4)]
    assert store.search(space.key, rows.embeddings[25], 1).row_ids.tolist() == [(1 << 32) + 25]
    assert len(store.scores(space.key, rows.embeddings[0]).row_ids) == 50
    assert store.verify() == []
    store.settle()
    assert len(list(store.layout.parts.rglob("*.parquet"))) == 3  # one of the first, two others


def test_supersede(store_with_two_videos: Store, make_vectors: MakeVectors, space: Space) -> None:
    store, exact = store_with_two_videos, make_vectors(2, 70)
    store.build_index(space.key)
    store.supersede(space.key, 2, np.array([7, 3]), exact)
    table = store.rows(space.key, [2])
    assert table.column("exact").to_numpy().nonzero()[0].tolist() == [3, 7]
    assert table.slice(7, 1).to_pylist()[0] | {"picture": "I"} == {
        "row_id": (2 << 32) + 7,
        "video_id": 2,
        "frame": 7,
        "seconds": 3.5,
        "picture": "I",
        "strategy": "dense",
        "reuse_rate": 0.0,
        "drift": 0.0,
        "exact": True,
    }
    assert store.search(space.key, exact[0], 1).row_ids.tolist() == [(2 << 32) + 7]
    assert store.vectors(space.key, np.array([(2 << 32) + 3]))[0] == pytest.approx(
        exact[1], abs=1e-3
    )
    assert store.index_status()[0].num_tombstones == 2
    with pytest.raises(NotFoundError, match="2 frames given to supersede in video 2, 1 of them"):
        store.supersede(space.key, 2, np.array([0, 20]), exact)


def test_removal_takes_rows_files_and_index_entries(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    store.build_index(space.key)
    store.catalog.remove_video("a")
    query = make_rows(0, 10, 10).embeddings[0]
    assert set((store.search(space.key, query, 99).row_ids >> 32).tolist()) == {2}
    store.settle()
    assert len(list(store.layout.parts.rglob("*.parquet"))) == 2
    assert store.verify() == []


def test_spaces_are_apart_and_can_be_removed(
    store_with_two_videos: Store, make_rows: MakeRows, space: Space
) -> None:
    store = store_with_two_videos
    other = Space("other", "m", "r", "1" * 64, "{}", 8)
    store.catalog.add_space(other)
    store.write_part(1, other.key, Sampling(2), "dense", 0, 0.0, 5.0, make_rows(0, 10, 80))
    store.build_index(other.key)
    assert len(store.search(other.key, make_rows(0, 1).embeddings[0], 99).row_ids) == 10
    store.remove_space(other.key)
    assert len(store.rows(space.key)) == 40
    assert [status.space_key for status in store.index_status()] == [space.key]
    with pytest.raises(NotFoundError, match="unknown space"):
        store.rows(other.key)
    assert store.verify() == []
    store.remove_space(space.key)
    assert store.catalog.current_space() is None


@pytest.mark.parametrize("built", [False, True])
def test_search_and_scores_agree_with_numpy(
    store_with_two_videos: Store, make_vectors: MakeVectors, space: Space, built: bool
) -> None:
    store, query = store_with_two_videos, make_vectors(1, 90)[0]
    if built:
        store.build_index(space.key)
    table = store.rows(space.key, columns=["row_id", "embedding"])
    ids = table.column("row_id").to_numpy()
    all_scores = np.array(table.column("embedding").to_pylist(), np.float32) @ query
    order = np.argsort(-all_scores)
    assert store.search(space.key, query, 7).row_ids.tolist() == ids[order][:7].tolist()
    assert store.scores(space.key, query).row_ids.tolist() == ids[order].tolist()
    allowed = ids[::3]
    wanted = [i for i in ids[order].tolist() if i in set(allowed.tolist())]
    found = store.search(space.key, query, 99, allowed=np.append(allowed[::-1], 12345))
    assert found.row_ids.tolist() == wanted
    assert store.scores(space.key, query, allowed).row_ids.tolist() == wanted
    assert store.scores(space.key, query, allowed).scores == pytest.approx(
        np.sort(all_scores[::3])[::-1], abs=1e-6
    )
    nothing = store.search(space.key, query, 5, allowed=np.empty(0, np.int64))
    assert len(nothing.row_ids) == 0


def test_an_empty_space_gives_nothing(
    empty_store: Store, make_vectors: MakeVectors, space: Space
) -> None:
    query = make_vectors(1, 0)[0]
    assert len(empty_store.search(space.key, query, 5).row_ids) == 0
    assert len(empty_store.scores(space.key, query).row_ids) == 0
    assert empty_store.build_index(space.key).kind == "none"
    assert empty_store.rows(space.key, columns=["row_id", "embedding"]).num_rows == 0
    assert empty_store.vectors(space.key, np.empty(0, np.int64)).shape == (0, 8)


def test_wrong_values_are_said(
    store_with_two_videos: Store, make_rows: MakeRows, make_vectors: MakeVectors, space: Space
) -> None:
    store, query = store_with_two_videos, make_vectors(1, 0)[0]
    with pytest.raises(UsageError, match="cannot search for 0 rows"):
        store.search(space.key, query, 0)
    with pytest.raises(UsageError, match=r"expected a query \[8\]"):
        store.search(space.key, query[:4], 1)
    with pytest.raises(UsageError, match="length 1"):
        store.search(space.key, query * 2, 1)
    with pytest.raises(UsageError, match="length 1"):
        make_rows(0, 2).__class__(
            **{
                **{name: getattr(make_rows(0, 2), name) for name in Rows.__slots__},
                "embeddings": np.full((2, 8), np.nan, np.float32),
            }
        )
    with pytest.raises(UsageError, match="nearest: seconds"):
        store.rows(space.key, columns=["second"])
    with pytest.raises(NotFoundError, match="no row for frame 99 of video 1"):
        store.vectors(space.key, np.array([(1 << 32) + 99]))
    with pytest.raises(NotFoundError, match="no video 9"):
        store.write_part(9, space.key, Sampling(2), "dense", 0, 0.0, 1.0, make_rows(0, 1))


def test_everything_is_there_after_opening_again(
    tmp_path: Path, make_rows: MakeRows, store_with_two_videos: Store, space: Space
) -> None:
    store, query = store_with_two_videos, make_rows(0, 1).embeddings[0]
    store.build_index(space.key)
    store.supersede(space.key, 1, np.array([4]), make_rows(0, 1, 5).embeddings)
    before, rows = store.search(space.key, query, 9), store.rows(space.key)
    store.close()
    with Store.open(tmp_path / "data") as again:
        after = again.search(space.key, query, 9)
        assert after.row_ids.tolist() == before.row_ids.tolist()
        assert after.scores.tolist() == before.scores.tolist()
        assert again.rows(space.key).equals(rows)


def test_a_lost_catalog_is_not_taken_for_an_empty_folder(
    tmp_path: Path, store_with_two_videos: Store
) -> None:
    store_with_two_videos.close()
    for path in (tmp_path / "data").glob("catalog.duckdb*"):
        path.unlink()
    with pytest.raises(StoreError, match="is gone"):
        Store.open(tmp_path / "data")
    assert list((tmp_path / "data" / "parts").rglob("*.parquet"))


def test_the_index_type_follows_the_number_of_rows(
    empty_store: Store, make_rows: MakeRows, make_info: Callable[[str], object], space: Space
) -> None:
    video_id = empty_store.catalog.add_video(make_info("/v.mp4"), "hash", "v")  # type: ignore[arg-type]
    empty_store.load_index(space.key)
    kinds = []
    for stretch in range(40):
        rows = make_rows(stretch * 10, stretch * 10 + 10, stretch)
        empty_store.write_part(video_id, space.key, Sampling(2), "dense", stretch, 0.0, 1.0, rows)
        kinds.append(empty_store.index_status()[0].kind)
        found = empty_store.search(space.key, rows.embeddings[0], 1)
        assert found.row_ids.tolist() == [(video_id << 32) + stretch * 10]
    assert list(dict.fromkeys(kinds)) == [*("none", "flat", "ivf18,fp16", "ivf28,2bit,fp16")]
    empty_store.finish_segment(video_id, space.key, Sampling(2), "dense", 400)
    assert empty_store.verify() == []


def test_a_filtered_search_is_never_short(
    tmp_path: Path, make_rows: MakeRows, make_info: Callable[[str], object], space: Space
) -> None:
    tuning = Tuning(flat_rows=50, probe_share=0.01, exact_rows=1, delta_rows=10)
    with Store.open(tmp_path, tuning=tuning) as store:
        store.catalog.add_space(space)
        video_id = store.catalog.add_video(make_info("/v.mp4"), "hash", "v")  # type: ignore[arg-type]
        store.write_part(video_id, space.key, Sampling(2), "dense", 0, 0.0, 1.0, make_rows(0, 500))
        store.build_index(space.key)
        ids = store.rows(space.key, columns=["row_id"]).column("row_id").to_numpy()
        query = make_rows(0, 1, 5).embeddings[0]
        for step, k in ((1, 7), (3, 50), (7, 100), (100, 5)):
            hits = store.search(space.key, query, k, allowed=ids[::step])
            assert len(hits.row_ids) == min(k, len(ids[::step]))
            assert np.isin(hits.row_ids, ids[::step]).all()
        assert "lists" in store.search(space.key, query, 1).index
