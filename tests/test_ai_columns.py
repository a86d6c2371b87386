"""AI_CLASSIFY, AI_EXTRACT, AI_JOIN, AI_FILTER of moments: what is asked of whom, and what comes."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, LimitError, UsageError
from engine.rows import SqlResult
from engine.search.inquiry import Asked, Filled, OneOf, YesNo
from engine.sql import run_sql
from tests.asking import Videos, as_asked, hash_vector


class Looker:
    """Answers as `as_asked` does, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def __call__(self, asked: Sequence[Asked]) -> list[Any]:
        assert 0 < len(asked) <= 8
        assert len({(s.video_id, frame) for s, _ in asked for frame in s.frames}) <= 8
        self.asked += asked
        return as_asked(asked)


@pytest.fixture
def looker() -> Looker:
    return Looker()


def ask(videos: Videos, looker: Any, sandbox: Sandbox, sql: str, **more: Any) -> SqlResult:
    context = videos.context(sandbox)
    context.look = looker
    return run_sql(context, sql, max_rows=100_000, **more)


def oracle(videos: Videos, sql: str, **relations: pa.Table) -> list[tuple[Any, ...]]:
    """What stock DuckDB gives over the stored frames and other tables."""
    names = ["video_id", "frame", "seconds"]
    frames = videos.store.rows(videos.space.key, columns=names)
    with duckdb.connect() as database:
        for name, table in {"frames": frames, **relations}.items():
            database.register(name, table)
        return database.execute(sql).fetchall()


def rows_of(result: SqlResult) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in result.rows()]


def test_a_label_is_a_column(shared_videos: Videos, looker: Looker, sandbox: Sandbox) -> None:
    call = "AI_CLASSIFY(frame, ['a', 'b', 'it''s c'], 'which?')"
    sql = f"SELECT {call} AS label, count(*) n FROM frames WHERE seconds < 4 GROUP BY 1 ORDER BY 1"
    plain = "['a', 'b', 'it''s c'][frame % 3 + 1]"
    expected = oracle(shared_videos, sql.replace(call, plain))
    assert rows_of(ask(shared_videos, looker, sandbox, sql)) == expected
    assert {inquiry for _, inquiry in looker.asked} == {OneOf(("a", "b", "it's c"), "which?")}
    (asked,) = oracle(shared_videos, "SELECT count(*) FROM frames WHERE seconds < 4")[0]
    assert len(looker.asked) == len(set(looker.asked)) == asked  # the condition came before


def test_what_is_cheap_comes_before_and_what_is_shown_alone_last(
    shared_videos: Videos, looker: Looker, sandbox: Sandbox
) -> None:
    label = "AI_CLASSIFY(frame, ['a', 'b'])"
    sql = f"SELECT frame, {label} FROM frames WHERE video_id = 1 AND AI_FILTER(frame, 'so?')"
    found = rows_of(ask(shared_videos, looker, sandbox, f"{sql} ORDER BY 1"))
    even = oracle(shared_videos, "SELECT frame FROM frames WHERE video_id = 1 AND frame % 2 = 0")
    assert found == [(frame, "a") for (frame,) in sorted(even)]
    counted = Counter(type(inquiry) for _, inquiry in looker.asked)
    assert counted == {YesNo: 2 * len(even), OneOf: len(even)}
    looker.asked.clear()
    sql = f"SELECT frame FROM frames WHERE {label} = 'b' AND AI_FILTER(frame, 'so?')"
    assert ask(shared_videos, looker, sandbox, sql).rows() == []
    counted = Counter(type(inquiry) for _, inquiry in looker.asked)
    assert counted[OneOf] == 2 * counted[YesNo]  # of the rows that all else leaves
    looker.asked.clear()
    best = f"SELECT {label} FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC LIMIT 3"
    assert len(ask(shared_videos, looker, sandbox, best).rows()) == len(looker.asked) == 3


def test_a_form_is_a_struct(shared_videos: Videos, looker: Looker, sandbox: Sandbox) -> None:
    sql = (
        "SELECT frame, AI_EXTRACT(frame, ['colour', 'shape']).colour AS c FROM frames"
        " WHERE video_id = 2 AND AI_EXTRACT(frame, ['colour', 'shape']).shape LIKE 'shape 1%'"
        " ORDER BY frame"
    )
    plain = (
        "SELECT frame, CASE WHEN frame % 3 > 0 THEN 'colour ' || frame END FROM frames"
        " WHERE video_id = 2 AND frame % 3 > 0 AND frame::VARCHAR LIKE '1%' ORDER BY frame"
    )
    assert rows_of(ask(shared_videos, looker, sandbox, sql)) == oracle(shared_videos, plain)
    assert len(looker.asked) == len(set(looker.asked))  # one column for both


def test_a_schema_gives_its_types(shared_videos: Videos, sandbox: Sandbox) -> None:
    schema = {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "share": {"type": ["number", "null"]},
            "seen": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "box": {"type": "object", "properties": {"x": {"type": "number"}}},
            "any": {},
        },
    }
    answer = {"count": 3.0, "share": None, "seen": True, "tags": ["a"], "box": {"x": 2}, "any": [1]}

    def look(asked: Sequence[Asked]) -> list[Any]:
        assert {inquiry for _, inquiry in asked} == {Filled(json.dumps(schema))}
        return [answer for _ in asked]

    sql = f"SELECT AI_EXTRACT(frame, '{json.dumps(schema)}') AS f FROM frames LIMIT 2"
    found = ask(shared_videos, look, sandbox, sql)
    kind = (
        "struct<count: int64, share: double, seen: bool, tags: list<item: string>,"
        " box: struct<x: double>, any: string>"
    )
    assert str(found.table.schema.field("f").type).replace("<l: ", "<item: ") == kind
    value = {"count": 3, "share": None, "seen": True, "tags": ["a"], "box": {"x": 2.0}}
    assert found.rows() == [{"f": {**value, "any": "[1]"}}] * 2


TEXTS = ["a dog", "a cat", "a bird", "it's raining", "a dog"]


@pytest.mark.parametrize("candidates", [1, 2, 9])
def test_rows_are_joined_with_the_texts_they_are_most_like(
    shared_videos: Videos, looker: Looker, sandbox: Sandbox, candidates: int
) -> None:
    listed = ", ".join("('" + text.replace("'", "''") + f"', {n})" for n, text in enumerate(TEXTS))
    sql = (
        f"WITH t AS (FROM (VALUES {listed}) v(text, n)) SELECT f.video_id, f.frame, t.n"
        " FROM frames f JOIN t ON AI_JOIN(f.frame, t.text, 'is {} here?',"
        f" candidates := {candidates}) WHERE f.seconds < 6 ORDER BY ALL"
    )
    found = rows_of(ask(shared_videos, looker, sandbox, sql))
    names = ["row_id", "video_id", "frame", "seconds"]
    frames = shared_videos.store.rows(shared_videos.space.key, columns=names)
    frames = frames.filter(pa.compute.less(frames.column("seconds"), 6))
    ids = frames.column("row_id").to_numpy()
    vectors = shared_videos.store.vectors(shared_videos.space.key, ids)
    texts = sorted(set(TEXTS))
    scores = vectors @ np.stack([hash_vector(text.encode()) for text in texts]).T
    expected, asked = [], 0
    for row, own in zip(frames.to_pylist(), scores, strict=True):
        best = {texts[at] for at in np.argsort(-own)[:candidates]}
        asked += len(best)
        expected += [
            (row["video_id"], row["frame"], n)
            for n, text in enumerate(TEXTS)
            if text in best and row["frame"] % 2 == 0
        ]
    assert found == sorted(expected)
    assert len(found) > 5
    assert len(looker.asked) == len(set(looker.asked)) == asked
    assert YesNo("is it's raining here?") in {i for _, i in looker.asked} or candidates < 9
    value = "SELECT AI_JOIN(frame, ['a dog'], '{}?') AS held FROM frames WHERE video_id = 1"
    held = ask(shared_videos, looker, sandbox, f"{value} ORDER BY frame LIMIT 2").rows()
    assert held == [{"held": ["a dog"]}, {"held": []}]


def test_moments_are_looked_at_by_frames_of_theirs(
    shared_videos: Videos, looker: Looker, sandbox: Sandbox
) -> None:
    spans = "moments('a dog', gap => 1.0, min_score => 0.3)"
    moments = ask(shared_videos, looker, sandbox, f"SELECT * FROM {spans}").rows()
    sql = (
        f"SELECT m.video_id, m.peak_seconds, AI_CLASSIFY(m.start_seconds, ['a', 'b']) AS label"
        f" FROM {spans} m WHERE AI_FILTER(m.start_seconds, 'so?') ORDER BY ALL"
    )
    found = rows_of(ask(shared_videos, looker, sandbox, sql))
    seen = {sight for sight, _ in looker.asked}
    times = {
        (row["video_id"], row["frame"]): row["seconds"]
        for row in shared_videos.store.rows(
            shared_videos.space.key, columns=["video_id", "frame", "seconds"]
        ).to_pylist()
    }
    expected = []
    for moment in moments:
        start, stop, video = (moment[n] for n in ("start_seconds", "stop_seconds", "video_id"))
        within = [
            s for s in seen if s.video_id == video and start <= times[video, s.frames[0]] < stop
        ]
        (sight,) = within
        assert 1 <= len(sight.frames) <= 4
        shown = [times[video, frame] for frame in sight.frames]
        assert shown == sorted(shown)
        assert start <= shown[0]
        assert shown[-1] < stop
        assert moment["peak_seconds"] in shown
        if sight.frames[0] % 2 == 0:
            expected.append((video, moment["peak_seconds"], "a"))
    assert found == sorted(expected)
    assert len(moments) >= 3
    did = ask(shared_videos, looker, sandbox, f"EXPLAIN ANALYZE {sql}").explain
    assert f"__judge_1 asked: {len(moments)} of {len(moments)} moments, 0 known from before" in did


def test_what_is_asked_is_said_before_and_after(
    shared_videos: Videos, looker: Looker, sandbox: Sandbox
) -> None:
    sql = (
        "SELECT AI_CLASSIFY(frame, ['a', 'b']) l, AI_EXTRACT(frame, ['x']) e,"
        " AI_JOIN(frame, ['a', 'b', 'c'], candidates := 2) j FROM frames WHERE video_id = 1"
    )
    (count,) = oracle(shared_videos, "SELECT count(*) FROM frames WHERE video_id = 1")[0]
    shown = ask(shared_videos, looker, sandbox, f"EXPLAIN {sql}").explain
    assert not looker.asked
    assert "Tell __told_1 = AI_CLASSIFY, 'What does this show?' out of 2 labels" in shown
    assert "Tell __filled_2 = AI_EXTRACT, x" in shown
    assert "Tell __paired_3 = 'Does this show {}?', the likeliest 2 of 3 texts" in shown
    context = shared_videos.context(sandbox)
    context.look = looker
    run_sql(context, "SELECT AI_CLASSIFY(frame, ['a', 'b']) FROM frames LIMIT 7", max_rows=99)
    context.work.tells.clear()
    did = run_sql(context, f"EXPLAIN ANALYZE {sql}", max_rows=999).explain
    assert f"__told_1 asked: {count} calls for {count} rows, 7 known from before, in " in did
    assert f"__paired_3 asked: {2 * count} calls for {count} rows, 0 known from before" in did
    with pytest.raises(LimitError, match=f"AI_CLASSIFY needs {count} calls for {count} rows, max_"):
        ask(shared_videos, looker, sandbox, "SELECT AI_CLASSIFY(frame, ['a', 'b'], max_calls := 9)"
            " FROM frames WHERE video_id = 1")  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("AI_CLASSIFY(frame)", "expected AI_CLASSIFY"),
        ("AI_CLASSIFY(frame, ['a'])", "1 labels; allowed: 2 to 100"),
        ("AI_CLASSIFY(frame, ['a', 'A '])", "the label 'A ' is given twice"),
        ("AI_CLASSIFY(frame, ['a', 3])", "expected AI_CLASSIFY.*got 3"),
        ("AI_CLASSIFY(frame, ['a', 'b'], max_call := 3)", "'max_call'.*nearest: max_calls"),
        ("AI_CLASSIFY(frame, ['a', 'b'], max_calls := 0)", "max_calls is 0; allowed: whole"),
        ("AI_CLASSIFY(seconds, ['a', 'b'])", "expected the handle frame"),
        ("AI_EXTRACT(frame, '{')", "the schema is no JSON"),
        ("AI_EXTRACT(frame, '[]')", "schema is no object"),
        ('AI_EXTRACT(frame, \'{"type": "string"}\')', "of no object with fields"),
        ("AI_EXTRACT(frame, [])", "got no field"),
        ("AI_EXTRACT(frame, '{\"typ\": 1}')", "keyword 'typ'.*nearest: type"),
        ("AI_JOIN(frame, 'a')", "expected AI_JOIN"),
        ("AI_JOIN(frame, ['a'], 'is it?')", "has no {} where the text is to stand"),
        ("AI_JOIN(frame, frame)", "of a relation in FROM, by its name"),
        ("AI_JOIN(frame, t.text)", "of a relation in FROM, by its name"),
        ("AI_JOIN(frame, frames.frame)", "AI_JOIN takes at most 1000 texts; frames.frame gave 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    shared_videos: Videos, looker: Looker, sandbox: Sandbox, call: str, message: str
) -> None:
    with pytest.raises(BindError, match=message):
        ask(shared_videos, looker, sandbox, f"SELECT {call} FROM frames")
    assert not looker.asked


def test_without_something_that_looks_it_says_so(shared_videos: Videos, sandbox: Sandbox) -> None:
    sql = "SELECT AI_CLASSIFY(frame, ['a', 'b']) FROM frames"
    with pytest.raises(UsageError, match="needs something that looks at pictures"):
        run_sql(shared_videos.context(sandbox), sql, max_rows=9)
