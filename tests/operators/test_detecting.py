"""DETECT and detections: what is looked at, and the rows against plain Python."""

from typing import Any

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, UsageError
from engine.sql import SqlResult, run_sql
from tests.actions import TwoSecondActions, shares
from tests.asking import Videos, hash_vector
from tests.detections import TwoSecondDetections, best, boxes

ALL = [(video, gop) for video in (1, 2, 3) for gop in range(10)]
ROWS = sorted(
    (video, frame, *box)
    for video in (1, 2, 3)
    for frame in range(40)
    for box in boxes(video, frame)
)
DOG = hash_vector(b"a dog")


@pytest.fixture
def detections() -> TwoSecondDetections:
    return TwoSecondDetections()


def run(
    videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections, sql: str, **options: Any
) -> SqlResult:
    context = videos.context(sandbox, **options)
    context.detections = lambda: detections
    context.actions = TwoSecondActions
    return run_sql(context, sql, max_rows=1000)


def looked(detections: TwoSecondDetections) -> list[tuple[int, int]]:
    return sorted(set(detections.asked))


def shown(videos: Videos, low: float) -> set[tuple[int, int]]:
    """The frames that show a dog."""
    keys = [(v, n) for v in (1, 2, 3) for n in range(40)]
    return {key for key in keys if float(videos.vector(*key) @ DOG) > low}


def test_every_box_is_a_row(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    rows = run(shared_videos, sandbox, detections, "SELECT * FROM detections").rows()
    got = sorted(
        (r["video_id"], r["frame"], r["label"], *(r[n] for n in ("score", "x0", "y0", "x1", "y1")))
        for r in rows
    )
    assert got == ROWS
    assert all(row["seconds"] == row["frame"] / 2 for row in rows)
    assert looked(detections) == ALL


@pytest.mark.parametrize(
    ("given", "label", "least"),
    [
        ("('cup')", "cup", 0.0),
        ("('cup', 0.5)", "cup", 0.5),
        ("(min_score => 0.7)", None, 0.7),
        ("('thing')", "ball star", 0.0),  # a word for two labels
        ("(label => 'ball', min_score => 0.2)", "ball", 0.2),
    ],
)
def test_its_arguments_choose_among_them(
    shared_videos: Videos,
    sandbox: Sandbox,
    detections: TwoSecondDetections,
    given: str,
    label: str | None,
    least: float,
) -> None:
    sql = f"SELECT video_id, frame, label, score FROM detections{given} d"
    rows = run(shared_videos, sandbox, detections, sql).rows()
    expected = [row[:4] for row in ROWS if row[2] in (label or row[2]) and row[3] >= least]
    assert sorted(tuple(row.values()) for row in rows) == expected
    assert len(expected) > 10


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("seconds < 5", [k for k in ALL if k[1] < 3]),
        ("seconds BETWEEN 3 AND 5 AND label = 'cup'", [k for k in ALL if k[1] in (1, 2)]),
        ("video_id = 2 AND score > 0.5", [k for k in ALL if k[0] == 2]),
        (
            "video_id IN (SELECT video_id FROM videos WHERE name = 'v3.mp4')",
            [k for k in ALL if k[0] == 3],
        ),
        ("seconds > 99", []),
    ],
)
def test_only_the_gops_that_are_left_are_looked_at(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections, where: str, asked: Any
) -> None:
    sql = f"SELECT video_id, frame, label, score FROM detections WHERE {where}"
    rows = run(shared_videos, sandbox, detections, sql).rows()
    assert looked(detections) == asked

    def kept(row: Any) -> bool:
        video, frame, label, score = row[:4]
        tests = {
            "seconds <": frame / 2 < 5,
            "seconds B": 3 <= frame / 2 <= 5 and label == "cup",
            "video_id =": video == 2 and score > 0.5,
            "video_id I": video == 3,
            "seconds >": False,
        }
        return next(held for start, held in tests.items() if where.startswith(start))

    assert sorted(tuple(row.values()) for row in rows) == [r[:4] for r in ROWS if kept(r)]


def test_a_limit_looks_no_further(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    sql = "SELECT label FROM detections LIMIT 5"
    assert len(run(shared_videos, sandbox, detections, sql).rows()) == 5
    assert 1 <= len(detections.asked) <= 3


USING = "USING (video_id, frame)"


@pytest.mark.parametrize(
    ("join", "handle"),
    [
        (USING, "f.frame"),
        (USING, "frame"),
        ("ON f.video_id = d.video_id AND d.frame = f.frame", "f.frame"),
    ],
)
def test_boxes_wait_for_the_frames_that_match(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections, join: str, handle: str
) -> None:
    left = shown(shared_videos, 0.5)
    sql = (
        "SELECT d.video_id, d.frame, d.label, d.score FROM detections('ball') d"
        f" JOIN frames f {join} WHERE CLIP_MATCH({handle}, 'a dog') > 0.5"
    )
    result = run(shared_videos, sandbox, detections, sql)
    expected = [row[:4] for row in ROWS if row[:2] in left and row[2] == "ball"]
    assert sorted(tuple(row.values()) for row in result.rows()) == expected
    assert looked(detections) == sorted({(v, n // 4) for v, n in left})
    assert 3 <= len(looked(detections)) < len(ALL)
    assert "Hold spans" in result.explain
    assert len(expected) >= 2


def test_an_outer_join_keeps_every_box(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    sql = (
        "SELECT d.video_id, d.frame, d.label, d.score, f.frame IS NULL AS alone FROM detections d"
        " LEFT JOIN frames f ON f.video_id = d.video_id AND f.frame = d.frame"
        " AND CLIP_MATCH(f.frame, 'a dog') > 0.5"
    )
    left = shown(shared_videos, 0.5)
    rows = [tuple(row.values()) for row in run(shared_videos, sandbox, detections, sql).rows()]
    assert sorted(rows) == [(*row[:4], row[:2] not in left) for row in ROWS]


def test_detect_is_the_best_score_of_frames_that_are_left(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    sql = (
        "SELECT video_id, frame, DETECT(frame, 'cup') AS s FROM frames"
        " WHERE DETECT(frame, 'cup') > 0.3 AND CLIP_MATCH(frame, 'a dog') > 0.5"
    )
    result = run(shared_videos, sandbox, detections, sql)
    left = shown(shared_videos, 0.5)
    expected = sorted((v, n, best(v, n, "cup")) for v, n in left if best(v, n, "cup") > 0.3)
    assert sorted(tuple(row.values()) for row in result.rows()) == expected
    assert looked(detections) == sorted({(v, n // 4) for v, n in left})
    assert len(expected) >= 2
    plan = result.explain
    assert plan.index("Spot __detect_1 = 'cup'") < plan.index("Score __match_1")


def test_order_by_a_match_spots_only_the_best(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    sql = (
        "SELECT video_id, frame, DETECT(frame, 'star') AS s FROM frames"
        " ORDER BY CLIP_MATCH(frame, 'a dog') DESC LIMIT 3"
    )
    rows = run(shared_videos, sandbox, detections, sql).rows()
    keys = [(v, n) for v in (1, 2, 3) for n in range(40)]
    keys.sort(key=lambda key: -float(shared_videos.vector(*key) @ DOG))
    assert [tuple(row.values()) for row in rows] == [(*k, best(*k, "star")) for k in keys[:3]]
    assert looked(detections) == sorted({(v, n // 4) for v, n in keys[:3]})


def test_detect_alone_embeds_what_frames_there_are(videos: Videos, sandbox: Sandbox) -> None:
    detections = TwoSecondDetections()
    sql = "SELECT frame, DETECT(frame, 'ball') AS s FROM frames WHERE video_id = 3 AND seconds > 18"
    rows = run(videos, sandbox, detections, sql).rows()
    assert sorted(tuple(row.values()) for row in rows) == [
        (n, best(3, n, "ball")) for n in (37, 38, 39)
    ]
    assert looked(detections) == [(3, 9)]
    assert [(r.start_seconds, r.stop_seconds) for r in videos.asked] == [(18.0, 20.0)]


def test_boxes_need_no_embeddings(videos: Videos, sandbox: Sandbox) -> None:
    sql = "SELECT count(*) AS n FROM detections WHERE video_id = 3"
    detections = TwoSecondDetections()
    assert run(videos, sandbox, detections, sql).rows() == [{"n": sum(r[0] == 3 for r in ROWS)}]
    assert videos.asked == []


def test_actions_wait_for_boxes(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    """Frames first, then the boxes of their GOPs, then the clips in which such a box is."""
    left = shown(shared_videos, 0.5)
    sql = (
        "SELECT DISTINCT c.video_id, c.clip FROM clips c JOIN detections('ball', 0.4) d"
        " ON c.video_id = d.video_id AND d.seconds >= c.start_seconds"
        " AND d.seconds < c.stop_seconds JOIN frames f ON f.video_id = d.video_id AND"
        " f.frame = d.frame WHERE CLIP_MATCH(f.frame, 'a dog') > 0.5"
        " AND ACTION(c.clip, 'runs') > 0.1"
    )
    actions = TwoSecondActions()
    context = shared_videos.context(sandbox)
    context.detections, context.actions = lambda: detections, lambda: actions
    rows = run_sql(context, sql, max_rows=1000).rows()
    with_box = {r[:2] for r in ROWS if r[2] == "ball" and r[3] >= 0.4}
    whole = {(v, n // 4) for v, n in left & with_box}
    expected = sorted(key for key in whole if shares(*key)[2] > 0.1)
    assert sorted(tuple(row.values()) for row in rows) == expected
    assert looked(detections) == sorted({(v, n // 4) for v, n in left})
    in_those = {(v, n // 4) for v, n in with_box} & set(looked(detections))
    assert set(actions.asked) <= in_those
    assert len(expected) >= 2


def test_what_cannot_be_looked_at_is_null_and_said(shared_videos: Videos, sandbox: Sandbox) -> None:
    lost = TwoSecondDetections(frozenset({(1, 3)}))
    sql = "SELECT video_id, frame, DETECT(frame, 'cup') AS s FROM frames WHERE frame < 20"
    result = run(shared_videos, sandbox, lost, sql)
    nothing = {(r["video_id"], r["frame"]) for r in result.rows() if r["s"] is None}
    assert nothing == {(1, n) for n in range(12, 16)}
    assert not result.coverage.complete
    rows = run(shared_videos, sandbox, lost, "SELECT * FROM detections")
    assert not rows.coverage.complete
    assert len(rows.rows()) == sum(not (r[0] == 1 and 12 <= r[1] < 16) for r in ROWS)
    assert run(shared_videos, sandbox, TwoSecondDetections(), sql).coverage.complete


def test_it_is_explained_with_its_cost(
    shared_videos: Videos, sandbox: Sandbox, detections: TwoSecondDetections
) -> None:
    sql = "EXPLAIN SELECT * FROM detections('cup', 0.25) WHERE seconds < 5"
    text = run(shared_videos, sandbox, detections, sql, fps=2.0).explain
    assert "Detect 'cup' from 0.25" in text
    assert "0 GOPs stored, 36 frames to look at: 7.20 s" in text
    assert detections.asked == []
    told = run(shared_videos, sandbox, detections, sql.replace("EXPLAIN", "EXPLAIN ANALYZE"))
    assert "objects: 0 GOPs from store, 36 frames seen in" in told.explain


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELECT DETECT(frame, 'bal') FROM frames", UsageError, "nearest: ball"),
        ("SELECT * FROM detections('kup')", UsageError, "nearest: cup"),
        ("EXPLAIN SELECT * FROM detections('x')", UsageError, "allowed: ball, cup, star"),
        ("SELECT * FROM frames WHERE DETECT(frame, 'cup')", BindError, "DETECT is a score"),
        ("SELECT DETECT(frame) FROM frames", BindError, "expected DETECT"),
        ("SELECT DETECT(frame, 'a', 'b') FROM frames", BindError, "expected DETECT"),
        ("SELECT DETECT(clip, 'cup') FROM clips", BindError, "expected the handle frame"),
        ("SELECT DETECT(frame, 'cup') FROM detections", BindError, "not the handle frame"),
        ("SELECT CLIP_MATCH(d.frame, 'a') FROM detections d", BindError, "not the handle frame"),
        ("SELECT * FROM detections('cup', 2)", BindError, "0 to 1, got 2"),
        ("SELECT * FROM detections('cup', 'x')", BindError, "expected a number"),
        ("SELECT * FROM detections(0.5)", BindError, "expected detections"),
        ("SELECT * FROM detections('cup', 0.1, 3)", BindError, "expected detections"),
        ("SELECT * FROM detections('')", BindError, "expected detections"),
        ("SELECT * FROM detections(score => 1)", BindError, "allowed: label, min_score"),
        ("SELECT * FROM detectons('cup')", BindError, "nearest: detections"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    shared_videos: Videos,
    sandbox: Sandbox,
    detections: TwoSecondDetections,
    sql: str,
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said) as caught:
        run(shared_videos, sandbox, detections, sql)
    assert "\n" not in str(caught.value)
    assert detections.asked == []


def test_without_a_model_it_says_so(shared_videos: Videos, sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match="needs a detector"):
        run_sql(shared_videos.context(sandbox), "SELECT * FROM detections", max_rows=10)
