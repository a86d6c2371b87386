"""Refinement gives the dense answer: the stop rule by brute force, the rest on a small store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import VideoError
from engine.search.error_bounds import Residuals
from engine.search.exactness import refine_cutoff, refine_top_k
from engine.search.reading import Reading
from engine.search.refiner import Refiner
from engine.search.stopping import kth_best, may_cross, may_enter
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

DIMENSION, FRAMES, VIDEOS = 32, 100, 5
SPACE = Space("tiny", "local/tiny", "local", "0" * 64, "{}", DIMENSION)
KEY = SPACE.key


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@dataclass
class Archive:
    """Videos of which the exact vectors are known; a picture holds its video and frame."""

    store: Store
    exact: dict[int, NDArray[np.float32]]
    decoded: int = 0
    broken: set[int] = field(default_factory=set)

    def redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        if video_id in self.broken:
            raise VideoError("gone", path=str(video_id))
        self.decoded += len(frames)
        return [np.array([[[video_id, frame, 0]]], np.uint8) for frame in frames]

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        places = [image[0, 0] for image in images]
        return np.stack([self.exact[int(video)][int(frame)] for video, frame, _ in places])

    def refiner(self, **options: float) -> Refiner:
        return Refiner(Reading(self.store, KEY), self.redecode, self.embed_images, **options)  # type: ignore[arg-type]

    def truth(self, query: NDArray[np.float32]) -> list[tuple[float, int]]:
        scored = [
            (float(row @ query), video << 32 | frame)
            for video, rows in self.exact.items()
            for frame, row in enumerate(rows)
        ]
        return sorted(scored, reverse=True)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Five videos whose frames wander slowly, stored 0 to 5 % away from where they are."""
    random = np.random.default_rng(0)
    with Store.open(tmp_path / "data") as store:
        store.catalog.add_space(SPACE)
        exact = {}
        for number in range(VIDEOS):
            info = VideoInfo(
                f"/{number}.mp4", "h264", 64, 48, 0, 30.0, 50.0, 0.0, 1500, 1, "yuv420p", False
            )
            video_id = store.catalog.add_video(info, f"hash {number}", str(number))
            steps = random.standard_normal((FRAMES, DIMENSION)) * 0.4
            exact[video_id] = unit(random.standard_normal(DIMENSION) + steps.cumsum(0))
            drift = random.uniform(0.0, 0.05, FRAMES)
            noise = unit(random.standard_normal((FRAMES, DIMENSION)))
            stored = unit(exact[video_id] + noise * np.sqrt(2 * drift)[:, None])
            frames = np.arange(FRAMES, dtype=np.int32)
            unknown = np.where(frames < 50, drift, np.nan).astype(np.float32)
            kinds = np.zeros(FRAMES, bool)
            reuse = np.full(FRAMES, 0.8, np.float32)
            rows = Rows(frames, frames / 2, ["P"] * FRAMES, stored, reuse, unknown, kinds)
            store.write_part(video_id, KEY, Sampling(2), "earlygate", 0, 0.0, 50.0, rows)
            store.finish_segment(video_id, KEY, Sampling(2), "earlygate", FRAMES)
        yield Archive(store, exact)


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.3), st.floats(-1, 1), st.booleans())),
    st.integers(1, 12),
    st.floats(-1, 1),
)
@settings(max_examples=400, deadline=None)
def test_stop_rule_never_loses_a_row_whose_allowance_holds(
    rows: list[tuple[float, float, float, bool]], k: int, cutoff: float
) -> None:
    stored, bound, share, known = (
        np.array(column, float) for column in (zip(*rows, strict=True) if rows else [[]] * 4)
    )
    exact = known.astype(bool)
    final = np.where(exact, stored, stored + share * bound)
    undecided_rows = may_enter(stored, bound, exact, k)
    assert not (undecided_rows & exact).any()
    # once those rows are exact, every row left out lies under the k-th best exact score
    settled = exact | undecided_rows
    if (~settled).any():
        assert final[~settled].max() < kth_best(final[settled], k)
    crossing = may_cross(stored, bound, exact, cutoff)
    sure = ~(exact | crossing)
    assert ((stored >= cutoff) == (final >= cutoff))[sure].all()


def test_stop_rule_equals_brute_force_on_random_scores() -> None:
    random = np.random.default_rng(2)
    for _ in range(300):
        count, k = int(random.integers(1, 40)), int(random.integers(1, 12))
        scores, bounds = random.normal(0, 0.1, count), random.uniform(0, 0.1, count)
        exact = random.random(count) < 0.4
        best = sorted(scores[exact], reverse=True)
        floor = best[k - 1] if len(best) >= k else -np.inf
        wanted = [not exact[at] and scores[at] + bounds[at] >= floor for at in range(count)]
        assert may_enter(scores, bounds, exact, k).tolist() == wanted


def test_top_k_equals_the_dense_answer_and_is_cheap_once_warm(archive: Archive) -> None:
    random = np.random.default_rng(5)
    before = after = cold = warm = 0
    queries = [
        unit(rows[int(random.integers(FRAMES))] + random.standard_normal(DIMENSION) * 0.15)
        for rows in archive.exact.values()
        for _ in range(2)
    ]
    for query in queries:
        wanted = {row for _, row in archive.truth(query)[:10]}
        before += len(wanted & set(archive.store.search(KEY, query, 10).row_ids.tolist()))
        hits, first = refine_top_k(archive.refiner(), query, 10)
        after += len(wanted & set(hits.row_ids.tolist()))
        again, second = refine_top_k(archive.refiner(), query, 10)
        assert again.row_ids.tolist() == hits.row_ids.tolist()
        assert first.complete
        assert first.confidence > 0.9
        assert np.all(np.diff(hits.scores) <= 0)
        cold, warm = cold + first.rows, warm + second.rows
    total = 10 * len(queries)
    assert before < 0.9 * total
    assert after >= 0.98 * total
    assert warm == 0
    assert cold < 0.8 * FRAMES * VIDEOS
    assert archive.decoded == cold


def test_rows_made_exact_are_stored(archive: Archive) -> None:
    query = archive.exact[1][40]
    hits, _ = refine_top_k(archive.refiner(), query, 5)
    stored = archive.store.rows(KEY, [1, 2, 3, 4, 5], ["row_id", "exact", "strategy", "drift"])
    found = {row["row_id"]: row for row in stored.to_pylist()}
    for row_id in hits.row_ids.tolist():
        assert found[row_id]["exact"]
        assert found[row_id]["drift"] == 0.0
    assert hits.scores[0] == pytest.approx(1.0, abs=2e-3)


def test_cutoff_finds_every_row_above_it(archive: Archive) -> None:
    query = archive.exact[2][10]
    wanted = {row for score, row in archive.truth(query) if score >= 0.8}
    assert len(wanted) > 5
    hits, said = refine_cutoff(archive.refiner(), query, 0.8)
    found = set(hits.row_ids.tolist())
    assert len(found ^ wanted) <= 1
    assert said.complete
    assert said.rows < 300


def test_allowed_rows_alone_are_refined(archive: Archive) -> None:
    allowed = (np.int64(3) << 32) + np.arange(20, 60)
    places = archive.store.view(KEY).frames.places(allowed)
    query = archive.exact[3][5]
    hits, _ = refine_top_k(archive.refiner(), query, 10, places=places)
    truth = [row for _, row in archive.truth(query) if row in set(allowed.tolist())]
    assert len(set(hits.row_ids.tolist()) & set(truth[:10])) >= 9


def test_budget_ends_it_and_says_so(archive: Archive) -> None:
    query = archive.exact[1][70]
    refine_top_k(archive.refiner(), archive.exact[5][0], 1)  # draws the audit
    hits, said = refine_top_k(archive.refiner(max_frames=3), query, 10)
    assert (said.rows, said.complete, said.budget) == (3, False, True)
    assert len(hits.row_ids) == 10
    _, said = refine_top_k(archive.refiner(max_seconds=0.0), query, 10)
    assert said.rows == 0
    assert not said.complete
    assert said.confidence < 0.99


def test_a_budget_without_room_for_the_audit_leaves_rows_as_they_are(archive: Archive) -> None:
    for budget in ({"max_frames": 40}, {"max_seconds": 0.0}):
        hits, said = refine_top_k(archive.refiner(**budget), archive.exact[1][70], 10)
        assert (said.rows, said.complete, len(hits.row_ids)) == (0, False, 10)
        assert said.budget
        hits, said = refine_cutoff(archive.refiner(**budget), archive.exact[1][70], 0.8)
        assert (said.rows, said.complete, said.budget) == (0, False, True)
    assert archive.decoded == 0


def test_unreadable_videos_stay_approximate_and_are_told(archive: Archive) -> None:
    archive.broken = {1}
    hits, said = refine_top_k(archive.refiner(), archive.exact[1][30], 10)
    assert (said.complete, said.budget) == (False, False)
    assert len(hits.row_ids) == 10
    rows = archive.store.rows(KEY, [1], ["exact"])
    assert not any(rows.column("exact").to_pylist())


def test_residuals_survive_storage() -> None:
    random = np.random.default_rng(0)
    exact = unit(random.standard_normal((20, 8)))
    stored = unit(exact + random.standard_normal((20, 8)) * 0.1)
    drifts = np.where(np.arange(20) % 2, 0.01, np.nan).astype(np.float32)
    residuals = Residuals.of_rows(exact, stored, drifts, 500)
    again = Residuals.of_json(residuals.as_json())
    query = exact[0]
    first, second = (each.spread_of(query, drifts).bounds(0.99) for each in (residuals, again))
    np.testing.assert_allclose(first, second, rtol=0.01)
    covered = np.abs((exact - stored) @ query) <= first
    assert covered.mean() >= 0.9
