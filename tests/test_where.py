"""Videos by a condition on their columns, against a stock DuckDB; Engine, Client and CLI alike."""

import duckdb
import numpy as np
import pytest

from engine.caller import for_one_who
from engine.errors import EngineError
from engine.query import query
from engine.search.selection import select_names
from engine.where import videos_where
from tests.oracle.conftest import world as world
from tests.oracle.world import World

CONDITIONS = [
    "camera = 'north'",
    "camera IN ('north', 'x') AND lanes > 2",
    "kept OR lanes = 2",
    "kept IS NULL",
    "recorded_at >= '2026-03-01'",
    "recorded_at BETWEEN TIMESTAMP '2026-02-28' AND TIMESTAMP '2026-03-01 12:00' AND camera <> 'x'",
    "folder LIKE '/vid%' AND name NOT LIKE '%3%'",
    "duration_seconds * 2 > 8 AND codec = 'h264'",
    "regexp_matches(name, 'v[12]') AND NOT (width > 64)",
    "true", "false", "camera", "video_id IN (1, 5, 99) -- these",
    "CASE WHEN lanes IS NULL THEN false ELSE lanes > 2 END",
    "date_trunc('month', recorded_at) = DATE '2026-03-01'",
    "status = 'quarantined' OR error IS NOT NULL",
]  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_means_what_it_means_in_sql(condition: str, world: World) -> None:
    sql = f"SELECT video_id FROM videos WHERE ({condition}\n) ORDER BY video_id"
    try:
        expected = [row[0] for row in world.twin.execute(sql).fetchall()]
    except duckdb.Error:
        with pytest.raises(EngineError):
            videos_where(world.store, world.sandbox, condition)
        return
    assert videos_where(world.store, world.sandbox, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("camra = 'north'", "nearest: camera"),
        ("1 = 1) OR (2 = 2", "expected one condition"),
        ("true) ORDER BY (1", "expected one condition"),
        ("true) UNION SELECT (1", "expected one condition"),
        ("video_id IN (SELECT video_id FROM frames)", "reads columns of videos alone"),
        ("CLIP_MATCH(frame, 'a') > 1", "reads columns of videos alone"),
        ("max(lanes) > 1", "reads columns of videos alone"),
        ("getenv('HOME') = ''", "function getenv is not allowed"),
        ("read_text('/etc/passwd') = ''", "not allowed"),
        ("", "expected"),
        ("lanes = $1", "no value for parameter"),
        ("); DROP TABLE videos; --", "got|expected|only"),
    ],
)
def test_what_is_no_condition(condition: str, said: str, world: World) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        videos_where(world.store, world.sandbox, condition)
    assert "SELECT 1 FROM videos" not in str(getattr(caught.value, "sql", ""))


def test_who_sees_no_folders_cannot_ask_for_them(world: World) -> None:
    with for_one_who(sees_folders=False, may_change=False):
        assert videos_where(world.store, world.sandbox, "path LIKE '/videos/%'").tolist() == []
        assert videos_where(world.store, world.sandbox, "folder <> ''").tolist() == []
        assert videos_where(world.store, world.sandbox, "path = 'v1.mp4'").tolist() == [1]


def test_of_videos_in_an_array_those_that_are_gone_are_left_out(world: World) -> None:
    store = world.store
    some = select_names(store, np.array([-1, 2, 5, 99]))
    assert dict(some) == {2: "v2.mp4", 5: "v5.mp4"} == select_names(store, [5, 2])
    assert (5 in some, 3 in some, len(some)) == (True, False, 2)
    assert not select_names(store, np.array([], np.int64))
    context = world.context()
    for ids in ([2, 5], [7], [1, 2, 3, 4, 5, 6, 7]):
        by_array = query(context, "a dog", videos=np.array(ids))
        assert by_array.moments == query(context, "a dog", videos=ids).moments
        assert by_array.coverage == query(context, "a dog", videos=ids).coverage
