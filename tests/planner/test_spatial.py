"""inside, left_of and above against plain definitions, over boxes of a detector by arithmetic."""

from math import atan2, pi

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError
from engine.sql import run_sql
from engine.storage.vocabulary import Vocabulary
from engine.zones import Zone, read_zone
from tests.asking import Videos
from tests.detections import TwoSecondDetections, boxes

DOOR: Zone = ((0.1, 0.2), (0.7, 0.1), (0.9, 0.8), (0.4, 0.5), (0.2, 0.9))
HALF = read_zone([0.0, 0.0, 1.0, 0.5])
KEYS = [(video, frame) for video in (1, 2, 3) for frame in range(40)]


def rows(videos: Videos, sandbox: Sandbox, sql: str) -> list[dict[str, object]]:
    context = videos.context(sandbox)
    detections = TwoSecondDetections()
    context.detections = lambda: detections
    context.zones = (("door", DOOR), ("upper half", HALF))
    return run_sql(context, sql, max_rows=100_000).rows()


def winds(zone: Zone, x: float, y: float) -> bool:
    """Whether a zone goes around a point: the angles to its corners add up to a whole turn."""
    turned = 0.0
    for (ax, ay), (bx, by) in zip(zone, (*zone[1:], zone[0]), strict=True):
        step = atan2(by - y, bx - x) - atan2(ay - y, ax - x)
        turned += (step + pi) % (2 * pi) - pi
    return abs(turned) > pi


def middle(box: tuple[str, float, float, float, float, float]) -> tuple[float, float]:
    return (box[2] + box[4]) / 2, (box[3] + box[5]) / 2


@pytest.mark.parametrize(
    ("call", "zone"),
    [
        ("inside(d, 'door')", DOOR),
        ("INSIDE(d, 'upper half')", HALF),
        ("inside(d, '0.1,0.2 0.7,0.1 0.9,0.8')", DOOR[:3]),
        ("inside(d.x0, d.y0, x1, y1, 'door')", DOOR),
    ],
)
def test_a_middle_is_in_a_zone(
    shared_videos: Videos, sandbox: Sandbox, call: str, zone: Zone
) -> None:
    sql = f"SELECT video_id, frame, score FROM detections d WHERE {call}"
    got = sorted(tuple(row.values()) for row in rows(shared_videos, sandbox, sql))
    every = [(*key, box) for key in KEYS for box in boxes(*key)]
    expected = sorted((v, f, box[1]) for v, f, box in every if winds(zone, *middle(box)))
    assert got == expected
    assert 10 < len(expected) < len(every)


def test_boxes_are_left_of_and_above_others(shared_videos: Videos, sandbox: Sandbox) -> None:
    sql = (
        "SELECT a.video_id, a.frame, a.score, b.score AS other, above(a, b) AS up"
        " FROM detections a JOIN detections b USING (video_id, frame)"
        " WHERE left_of(a, b) AND NOT inside(b, 'upper half')"
    )
    got = sorted(tuple(row.values()) for row in rows(shared_videos, sandbox, sql))
    expected = []
    for key in KEYS:
        for a in boxes(*key):
            for b in boxes(*key):
                (ax, ay), (bx, by) = middle(a), middle(b)
                if ax < bx and by >= 0.5:
                    expected.append((*key, a[1], b[1], ay < by))
    assert got == sorted(expected)
    assert {row[-1] for row in got} == {True, False}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("inside(d, 'dor')", "unknown zone 'dor'; allowed: door, upper half; nearest: door"),
        ("inside(d, '0.1,0.2 0.3,0.4')", "allowed: a rectangle"),
        ("inside(d, '0.1,0.2 0.3,4 0.1,0.7')", "allowed: a rectangle"),
        ("inside(d)", r"expected inside\(box, 'zone'\)"),
        ("inside(d, label)", r"expected inside\(box, 'zone'\)"),
        ("left_of(d)", r"expected left_of\(box, box\): a box is"),
        ("above(d.x0, d.y0)", r"expected above\(box, box\): a box is"),
        ("left_of(d, e)", "e"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    shared_videos: Videos, sandbox: Sandbox, call: str, said: str
) -> None:
    with pytest.raises(BindError, match=said):
        rows(shared_videos, sandbox, f"SELECT frame FROM detections d WHERE {call}")


def test_an_unknown_zone_is_pointed_at() -> None:
    from engine.planner.parse import parse

    sql = "SELECT frame FROM detections d WHERE inside(d, 'gate')"
    with pytest.raises(BindError) as caught:
        parse(sql, vocabulary=Vocabulary(zones=(("door", DOOR),)))
    assert caught.value.position == sql.index("inside")
