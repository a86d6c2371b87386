"""Frames near frames, against every product by numpy, whatever the index."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.sql import run_sql
from tests.oracle.world import FRAMES, VIDEOS, World, shown, stored

ALL = [1000 * video + index for video in range(1, VIDEOS + 1) for index in range(FRAMES)]
VECTORS = np.stack([stored(shown(frame)) for frame in ALL])


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("near") / "data")
    yield made
    made.close()


def expected(frame: int, count: int, *, apart: bool) -> list[tuple[int, int, float]]:
    """Place, frame and cosine of what is nearest."""
    scores = VECTORS @ stored(shown(frame))
    found = [
        (-float(score), other)
        for score, other in zip(scores, ALL, strict=True)
        if other != frame and not (apart and other // 1000 == frame // 1000)
    ]
    best = sorted(found)[:count]
    return [(place + 1, other, -score) for place, (score, other) in enumerate(best)]


@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize("apart", [False, True])
def test_each_frame_has_its_nearest(near: World, count: int, apart: bool) -> None:
    call = f"nearest({count}, other_videos => {str(apart).lower()})"
    rows = run_sql(near.context(), f"SELECT * FROM {call} ORDER BY ALL", max_rows=9999).rows()
    given = {frame: [row for row in rows if row["frame"] == frame] for frame in ALL}
    for frame, own in given.items():
        wanted = expected(frame, count, apart=apart)
        assert [(row["place"], row["near_frame"]) for row in own] == [w[:2] for w in wanted]
        assert [row["score"] for row in own] == pytest.approx([w[2] for w in wanted], abs=1e-3)
        for row in own:
            assert row["video_id"] == frame // 1000
            assert row["near_video_id"] == row["near_frame"] // 1000
            assert row["near_seconds"] == row["near_frame"] % 1000 / 2


def test_it_joins_and_only_frames_that_are_left_are_searched_for(near: World) -> None:
    sql = (
        "SELECT f.frame, n.near_frame, v.name FROM frames f JOIN nearest(2, other_videos => true) n"
        " USING (video_id, frame) JOIN videos v ON v.video_id = n.near_video_id"
        " WHERE n.video_id = 2 AND n.seconds < 1 AND n.score > -1 ORDER BY f.frame, n.place"
    )
    rows = run_sql(near.context(), sql, max_rows=99).rows()
    wanted = [(f, other) for f in (2000, 2001) for _, other, _ in expected(f, 2, apart=True)]
    assert [(row["frame"], row["near_frame"]) for row in rows] == wanted
    told = run_sql(near.context(), f"EXPLAIN ANALYZE {sql}", max_rows=99).rows()
    line = next(row["explain"] for row in told if "Nearest" in row["explain"])
    assert "Nearest 2 frames of other videos" in line
    assert "4 rows" in line


def test_exact_frames_are_searched_among_exact_ones(tmp_path: Path) -> None:
    world = World(tmp_path / "data", approximate=True)
    sql = "SELECT frame, near_frame FROM nearest(1) WHERE video_id = 3 ORDER BY ALL"
    loose = run_sql(world.context(), sql, max_rows=99)
    assert not loose.coverage.exact
    found = run_sql(world.context(), f"{sql} OPTIONS (exact = true)", max_rows=99)
    assert found.coverage.exact
    wanted = [{"frame": f, "near_frame": expected(f, 1, apart=False)[0][1]} for f in ALL[12:18]]
    assert found.rows() == wanted
    world.close()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("nearest()", "expected nearest"),
        ("nearest('a')", "expected a number"),
        ("nearest(0)", "a whole number of 1 to 1000, got 0"),
        ("nearest(1.5)", "got 1.5"),
        ("nearest(3, other_video => true)", "nearest: other_videos"),
        ("nearest(3, other_videos => 1)", "expected nearest"),
        ("nearest", "expected nearest"),
    ],
)
def test_what_is_asked_wrongly_is_refused(near: World, call: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        run_sql(near.context(), f"SELECT * FROM {call}", max_rows=99)


def test_its_frame_is_no_handle(near: World) -> None:
    sql = "SELECT CLIP_MATCH(n.frame, 'a dog') FROM nearest(3) n"
    with pytest.raises(EngineError, match="frame"):
        run_sql(near.context(), sql, max_rows=99)
