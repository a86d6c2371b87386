"""SQL statements end to end on a store, against plain Python."""

import shutil
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, LimitError
from engine.operators.base import read_table
from engine.planner.bind import bind
from engine.planner.lower import Build
from engine.planner.parse import parse
from engine.planner.prepare import prepare
from engine.search.context import Range
from engine.sql import SqlResult, run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Store
from tests.asking import Videos, hash_vector


def run(videos: Videos, sandbox: Sandbox, sql: str, **named: Any) -> SqlResult:
    return run_sql(videos.context(sandbox), sql, (), named, max_rows=1000)


def cosine(videos: Videos, text: str, video: int, number: int) -> float:
    return float(videos.vector(video, number) @ hash_vector(text.encode()))


def test_top_k_with_a_score_column(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        "SELECT video_id, frame, CLIP_MATCH(frame, $t) AS score FROM frames"
        " ORDER BY score DESC LIMIT 5",
        t="a dog",
    ).rows()
    scored = [(cosine(shared_videos, "a dog", v, n), v, n) for v in (1, 2, 3) for n in range(40)]
    best = sorted(scored, reverse=True)[:5]
    assert [(row["video_id"], row["frame"]) for row in rows] == [(v, n) for _, v, n in best]
    assert [row["score"] for row in rows] == pytest.approx([s for s, _, _ in best], abs=2e-3)


def test_a_cut_off_is_complete(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        "SELECT video_id, frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.5",
    ).rows()
    expected = {
        (v, n) for v in (1, 2, 3) for n in range(40) if cosine(shared_videos, "a dog", v, n) > 0.5
    }
    assert {(row["video_id"], row["frame"]) for row in rows} == expected
    assert len(expected) > 10


def test_a_bare_match_is_a_probability_above_the_false_match_rate(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    bare = "SELECT video_id, frame FROM frames WHERE CLIP_MATCH(frame, 'a dog')"
    said = "SELECT video_id, frame FROM frames WHERE CLIP_PROB(frame, 'a dog') >= 0.99"
    rows = run(shared_videos, sandbox, bare + " OPTIONS (false_match_rate = 0.01)").rows()
    assert rows == run(shared_videos, sandbox, said).rows()
    assert {row["frame"] for row in rows} >= set(range(10, 16))


def test_functions_may_stand_anywhere(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        """
        WITH scored AS (
            SELECT f.*, CLIP_MATCH(f.frame, 'a dog') AS dog FROM frames f WHERE f.seconds < 9
        )
        SELECT v.name, count(*) AS frames, max(dog) AS dog,
               max(CLIP_MATCH(s.frame, 'a cat')) AS cat,
               arg_max(s.seconds, dog) AS at
        FROM scored s JOIN videos v USING (video_id)
        GROUP BY v.name HAVING max(CLIP_MATCH(s.frame, 'a dog')) > 0.5 ORDER BY v.name
        """,
    ).rows()
    assert [row["name"] for row in rows] == ["v1.mp4", "v2.mp4", "v3.mp4"]
    assert all(row["frames"] == 18 and 5 <= row["at"] < 8 for row in rows)
    assert all(row["dog"] > row["cat"] for row in rows)


def test_stars_show_the_relation_and_nothing_else(shared_videos: Videos, sandbox: Sandbox) -> None:
    sql = "SELECT *, CLIP_MATCH(frame, 'a') AS s FROM frames LIMIT 1"
    names = run(shared_videos, sandbox, sql).arrow().schema.names
    assert names == [
        *("video_id", "frame", "seconds", "picture", "strategy"),
        *("reuse_rate", "drift", "exact", "at", "s"),
    ]
    sql = "SELECT * FROM (SELECT * FROM frames) f WHERE CLIP_MATCH(f.frame, 'a') > -1 LIMIT 1"
    assert run(shared_videos, sandbox, sql).arrow().schema.names == names[:-1]


def test_names_without_an_alias_are_the_text_that_was_typed(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    result = run(shared_videos, sandbox, "SELECT CLIP_MATCH(frame, 'a') + 1 FROM frames LIMIT 1")
    assert result.arrow().schema.names == ["CLIP_MATCH(frame, 'a') + 1"]


def test_moments_join_like_any_relation(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        "SELECT v.name, m.start_seconds, m.stop_seconds FROM videos v"
        " JOIN moments('a dog' THEN 'a cat' WITHIN 3s, min_score => 0.6) m USING (video_id)"
        " WHERE v.name <> 'v2.mp4' ORDER BY v.name",
    ).rows()
    assert rows == [
        {"name": name, "start_seconds": 5.0, "stop_seconds": 12.0} for name in ("v1.mp4", "v3.mp4")
    ]


def test_a_sequence_may_stand_in_where(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        "SELECT video_id FROM moments WHERE CLIP_MATCH('a dog') THEN CLIP_MATCH('a cat')"
        " WITHIN 10s AND video_id < 3 ORDER BY 1",
    ).rows()
    assert [row["video_id"] for row in rows] == [1, 2]


def test_video_qa_answers_per_video(shared_videos: Videos, sandbox: Sandbox) -> None:
    rows = run(
        shared_videos,
        sandbox,
        "SELECT name, VIDEO_QA(video_id, 'what?', ['x', 'y']).answer AS a,"
        " VIDEO_QA(video_id, 'what?', ['x', 'y']).stop_seconds AS s FROM videos WHERE video_id = 2",
    ).rows()
    assert rows == [{"name": "v2.mp4", "a": "x", "s": 2.0}]


def test_a_query_embeds_exactly_the_gops_it_needs(videos: Videos, sandbox: Sandbox) -> None:
    sql = "SELECT seconds FROM frames WHERE CLIP_MATCH(frame, 'a dog') > -2"
    rows = run(videos, sandbox, f"{sql} AND video_id = 3 AND seconds BETWEEN 13 AND 15").rows()
    assert [row["seconds"] for row in rows] == [13.0, 13.5, 14.0, 14.5, 15.0]
    assert videos.asked == [Range(3, 12.0, 16.0)]
    run(videos, sandbox, "SELECT count(*) FROM frames")
    assert len(videos.asked) == 1


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) AS n FROM frames", [{"n": 120}]),
        ("SELECT max(seconds) AS n FROM frames WHERE video_id = 1", [{"n": 19.5}]),
        ("SELECT count(*) AS n FROM videos JOIN frames USING (video_id)", [{"n": 120}]),
        (
            "SELECT count(*) AS n FROM frames WHERE video_id IN"
            " (SELECT video_id FROM videos WHERE name = 'v2.mp4')",
            [{"n": 40}],
        ),
        ("SELECT count(*) AS n FROM videos", [{"n": 3}]),
        ("EXPLAIN SELECT CLIP_MATCH(frame, 'a') FROM frames", None),
    ],
)
def test_what_the_catalog_knows_opens_no_vectors(
    sql: str, expected: list[dict[str, Any]] | None, videos: Videos, sandbox: Sandbox
) -> None:
    videos.write(3, 10.0, 20.0)
    videos.store.finish_segment(3, videos.space.key, Sampling(2), "dense", 40)
    root = videos.store.layout.root
    videos.store.close()
    shutil.rmtree(root / "parts" / "1")  # whoever opens a part finds it gone
    with Store.open(root) as videos.store:
        rows = run(videos, sandbox, sql).rows()
        assert expected is None or rows == expected
        assert len(videos.store.rows(videos.space.key)) == 120  # nothing has been found gone
        run(videos, sandbox, "SELECT CLIP_MATCH(frame, 'a') FROM frames WHERE video_id = 1")
        assert len(videos.store.rows(videos.space.key)) < 120


def test_explain_reads_nothing(videos: Videos, sandbox: Sandbox) -> None:
    result = run(
        videos, sandbox, "EXPLAIN SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a') > 0.3"
    )
    assert videos.asked == []
    text = "\n".join(row["explain"] for row in result.rows())
    assert result.explain == text
    assert "rules: search_within_range" in text
    assert "20 to embed: decode" in text
    assert "estimated: " in text


def test_explain_analyze_says_what_happened(videos: Videos, sandbox: Sandbox) -> None:
    text = run(
        videos,
        sandbox,
        "EXPLAIN ANALYZE SELECT f.seconds, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f"
        " JOIN videos v USING (video_id) WHERE v.name = 'v3.mp4' ORDER BY s DESC LIMIT 3",
    ).explain
    assert "rules: apply_joins, apply_needs, push_semi_join_down" in text
    assert "Search best 3 by __match_1 = 'a dog'" in text
    assert "| 3 rows" in text
    assert "index: " in text
    assert "decoded: 1 GOPs of 1 videos" in text
    assert "embedded: 20 frames" in text
    assert "frames from store: 20" in text


def test_too_many_rows_are_an_error(shared_videos: Videos, sandbox: Sandbox) -> None:
    with pytest.raises(LimitError, match="more than 10 rows"):
        run_sql(shared_videos.context(sandbox), "SELECT * FROM frames", max_rows=10)


@pytest.mark.parametrize(
    ("sql", "message", "caret"),
    [
        ("SELECT secnds FROM frames", 'column "secnds" not found .*; nearest: seconds', 7),
        ("SELECT f.secs FROM frames f", 'column named "secs"; nearest: seconds', 9),
        ("SELECT a FROM framez", "unknown relation 'framez'; .*; nearest: frames", 14),
        ("SELECT CLIP_MATCH(seconds, 'a') FROM frames", "expected the handle frame", 18),
        ("SELECT CLIP_MATCH(frame) FROM frames", "expected CLIP_MATCH", 7),
        ('SELECT CLIP_MATCH(frame, "a dog") FROM frames', "in single quotes: 'a dog'", 7),
        ('SELECT * FROM moments("a dog")', "in single quotes: 'a dog'", 22),
        ("SELECT CLIP_MATCH(frame, ' ') FROM frames", "a text that is not empty", 7),
        ("SELECT IMAGE_MATCH(frame, 'x') FROM frames", "takes a bound parameter", 7),
        ("SELECT VIDEO_QA(video_id, 'q', ['a']) FROM videos", "at least two choices", 7),
        ("SELECT CLIP_MATCH(frame, 'a') FROM frames a, frames b", "write a.frame or b.frame", 18),
        (
            "SELECT CLIP_MATCH(frame, 'a') FROM (SELECT DISTINCT frame FROM frames) f",
            "not through GROUP BY, DISTINCT",
            18,
        ),
        ("SELECT * FROM moments", "expected moments", 14),
        ("SELECT * FROM moments('a', gpa => 1)", "unknown argument of moments 'gpa'", 14),
        ("SELECT * FROM moments('a' GAP 1 WITHIN 3s)", "belongs to a text after THEN", 22),
    ],
)
def test_what_does_not_bind_is_pointed_at(
    shared_videos: Videos, sandbox: Sandbox, sql: str, message: str, caret: int
) -> None:
    with pytest.raises(BindError, match=message) as caught:
        run(shared_videos, sandbox, sql)
    assert caught.value.position == caret


PREDICATES = st.sampled_from(
    [
        "f.seconds < 9",
        "f.seconds BETWEEN 4.5 AND 11",
        "f.video_id = 2",
        "f.video_id IN (1, 3)",
        "f.picture = 'I'",
        "v.name <> 'v1.mp4'",
        "v.duration_seconds > 5",
        "CLIP_MATCH(f.frame, 'a dog') > 0.2",
        "CLIP_MATCH(f.frame, 'a cat') <= 0.4",
        "CLIP_MATCH(f.frame, 'a dog') > CLIP_MATCH(f.frame, 'a cat')",
        "NOT CLIP_MATCH(f.frame, 'a cat')",
        "CLIP_PROB(f.frame, 'a dog') > 0.5",
        "(f.seconds > 15 OR CLIP_MATCH(f.frame, 'a cat') > 0.3)",
        "f.video_id IN (SELECT video_id FROM videos WHERE num_frames > 3 AND video_id < 3)",
        "f.frame % 2 = 0",
        "EXISTS (SELECT 1 FROM gops g WHERE g.video_id = f.video_id AND g.gop = 3)",
    ]
)
JOINS = st.sampled_from(
    [
        "frames f JOIN videos v USING (video_id)",
        "frames f JOIN videos v ON v.video_id = f.video_id",
        "videos v, frames f",
        "frames f JOIN videos v USING (video_id) JOIN gops g ON g.gop = 4 AND g.video_id = 2",
        "videos v LEFT JOIN frames f ON f.video_id = v.video_id",
        "frames f LEFT JOIN videos v ON f.video_id = v.video_id AND v.video_id > 1",
    ]
)
TAILS = st.sampled_from(
    [
        "",
        "ORDER BY CLIP_MATCH(f.frame, 'a dog') DESC LIMIT 6",
        "ORDER BY s DESC LIMIT 3 OFFSET 2",
        "ORDER BY CLIP_MATCH(f.frame, 'a dog'), f.video_id LIMIT 5",
    ]
)


@given(JOINS, st.lists(PREDICATES, max_size=4, unique=True), TAILS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_optimised_plans_answer_like_naive_ones(
    shared_videos: Videos, sandbox: Sandbox, joined: str, predicates: list[str], tail: str
) -> None:
    where = f"WHERE {' AND '.join(predicates)}" if predicates else ""
    sql = (
        "SELECT f.video_id, f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s"
        f" FROM {joined} {where} {tail}"
    )
    prepared = prepare(sql, (), {}, sandbox, false_match_rate=0.001, max_rows=1000)
    naive = Build(prepared.operator.schema, 1000).operator(bind(parse(sql), false_match_rate=0.001))
    answers = [
        read_table(operator, shared_videos.context(sandbox)).to_pylist()
        for operator in (prepared.operator, naive)
    ]
    if "ORDER" not in tail:
        answers = [
            sorted(rows, key=lambda row: repr((row["video_id"], row["frame"], row["name"])))
            for rows in answers
        ]
    if "videos v, frames f" in sql and tail:  # every frame thrice: the order of ties is free
        answers = [[{"s": row["s"]} for row in rows] for rows in answers]
    assert answers[0] == [pytest.approx(row, abs=1e-6) for row in answers[1]]
