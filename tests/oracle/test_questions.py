"""VIDEO_QA is dear: each video that all else leaves is asked, once."""

import pytest

from engine.sql import run_sql
from tests.oracle.judge import judge
from tests.oracle.world import World

DOG = "CLIP_MATCH(f.frame, 'a dog') > 0.6"  # in videos 1, 4 and 6
ASKED = "VIDEO_QA(v.video_id, 'what?', ['x', 'y']).answer"
SHAPES = {
    f"SELECT v.name, {ASKED} AS a FROM videos v WHERE v.video_id = 2": 1,
    f"SELECT v.name FROM videos v WHERE {ASKED} = 'x' AND v.width < 200": 3,
    f"SELECT v.name, {ASKED} AS a FROM videos v JOIN frames f USING (video_id) WHERE {DOG}": 3,
    f"SELECT v.name, f.frame FROM videos v JOIN frames f USING (video_id) WHERE {DOG}"
    f" AND {ASKED} = 'x'": 3,
    f"SELECT v.name, f.frame FROM frames f, videos v WHERE {DOG} AND f.video_id = v.video_id"
    f" AND {ASKED} = 'x' AND v.width < 100": 1,
    f"SELECT v.name FROM videos v WHERE {ASKED} = 'x' AND v.video_id IN"
    f" (SELECT f.video_id FROM frames f WHERE {DOG})": 3,
    f"SELECT v.name FROM videos v WHERE {ASKED} = 'x' AND EXISTS"
    f" (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND {DOG})": 3,
    f"SELECT v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM videos v JOIN frames f"
    f" USING (video_id) WHERE {ASKED} = 'y' AND f.seconds = 0 AND v.width < 200"
    " ORDER BY s DESC LIMIT 2": 3,
    "SELECT f.frame, VIDEO_QA(f.video_id, 'what?', ['x', 'y']).answer AS a FROM frames f"
    f" WHERE {DOG}": 3,
    "SELECT VIDEO_QA(video_id, 'a', ['x', 'y']).answer AS a, VIDEO_QA(video_id, 'a', ['x', 'y'])"
    ".confidence AS c FROM videos WHERE video_id < 3": 2,
}


@pytest.mark.parametrize("sql", SHAPES)
def test_each_surviving_video_is_asked_once(sql: str, world: World) -> None:
    verdict = judge(world, sql)
    assert verdict.kind == "same", verdict.why
    world.questions.clear()
    run_sql(world.context(), sql, max_rows=1000)
    assert len(world.questions) == SHAPES[sql]
    assert len(set(world.questions)) == SHAPES[sql]
