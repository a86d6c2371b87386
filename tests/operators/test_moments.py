"""Moments against their definition, frame by frame in plain Python, whatever the index."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.vectors import Tuning
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from tests.asking import hash_vector
from tests.search.test_nearest import SPACE, context_of

VIDEOS, FRAMES = 7, 40
Times = tuple[float, float]


def vectors_of(video: int) -> np.ndarray:
    """Frames whose likeness to a dog, and less so to a cat, comes and goes."""
    draw = np.random.default_rng(video)
    dog, cat = (np.cumsum(draw.normal(0, 0.3, FRAMES))[:, None] for _ in range(2))
    drawn = draw.standard_normal((FRAMES, 32)) / 4
    drawn += dog * hash_vector(b"a dog") + cat * hash_vector(b"a cat")
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=["flat", "lists", "delta"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same frames in each kind of index."""
    tuning = Tuning(flat_rows=10**6 if request.param == "flat" else 50)
    folder: Path = tmp_path_factory.mktemp(request.param) / "data"
    with Store.open(folder, tuning=tuning) as store:
        store.catalog.add_space(SPACE)
        for video in range(1, VIDEOS + 1):
            info = VideoInfo(
                f"/{video}", "h264", 64, 48, 0, 30.0, 20.0, 0.0, 600, video, "yuv420p", False
            )
            store.catalog.add_video(info, f"{video}", f"{video}")
            store.catalog.add_gops(video, [Gop(0, 0.0, 20.0, 600, 0)])
            numbers, flat = np.arange(FRAMES, dtype=np.int32), np.zeros(FRAMES, np.float32)
            exact = np.ones(FRAMES, bool)
            rows = Rows(numbers, numbers / 2, ["P"] * FRAMES, vectors_of(video), flat, flat, exact)
            store.write_part(video, SPACE.key, Sampling(2), "dense", 0, 0.0, 20.0, rows)
            store.finish_segment(video, SPACE.key, Sampling(2), "dense", FRAMES)
            if request.param != "delta" or video == 4:
                store.build_index(SPACE.key)
        yield store


def spans_of(scores: list[float], cut: float, gap: float) -> list[tuple[float, float, float]]:
    """Start, stop and best score of each run of hits; every frame is shown for half a second."""
    found: list[tuple[float, float, float]] = []
    for number, score in enumerate(scores):
        if score < cut:
            continue
        start, stop = number / 2, number / 2 + 0.5
        if found and start - found[-1][1] <= gap:
            found[-1] = (found[-1][0], stop, max(found[-1][2], score))
        else:
            found.append((start, stop, score))
    return found


def sequences_of(rows: list[list[tuple[float, float, float]]]) -> list[tuple[float, float, float]]:
    """Of each first span the first followers that start later, one of each row."""
    found = []
    for first in rows[0]:
        ends = sequences_of(rows[1:]) if rows[1:] else [(first[0], first[1], first[2])]
        later = [end for end in ends if not rows[1:] or end[0] > first[0]]
        if later:
            best = min(later)
            found.append((first[0], max(first[1], best[1]), min(first[2], best[2])))
    return found


@given(
    st.floats(-0.9, 0.9), st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.booleans(), st.integers(0, 7)
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_moments_are_what_their_definition_says(
    kept: Store, sandbox: Sandbox, cut: float, gap: float, two: bool, most: int
) -> None:
    texts = ["a dog", "a cat"] if two else ["a dog"]
    expected = []
    for video in range(1, most + 1):
        stored = vectors_of(video).astype(np.float16).astype(np.float32)
        scores = [(stored @ hash_vector(text.encode())).tolist() for text in texts]
        if any(abs(score - cut) < 1e-5 for row in scores for score in row):
            return
        found = sequences_of([spans_of(row, cut, gap) for row in scores])
        expected += [(video, *span) for span in found]
    text = "' THEN '".join(texts)
    sql = (
        f"SELECT video_id, start_seconds, stop_seconds, score FROM moments('{text}',"
        f" min_score => {cut:.9f}, gap => {gap}) WHERE video_id <= {most}"
    )
    rows = run_sql(context_of(kept, sandbox), sql, max_rows=1000).rows()
    given_rows = sorted(tuple(row.values()) for row in rows)
    assert [row[:3] for row in given_rows] == [row[:3] for row in sorted(expected)]
    assert [row[3] for row in given_rows] == pytest.approx(
        [row[3] for row in sorted(expected)], abs=1e-5
    )
