"""TEXT_MATCH and the relation `transcript`, each row against a search of the plain kind."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError
from engine.operators.text_match import raise_scores
from engine.search.context import Range
from engine.search.options import Options
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.transcripts import Said
from schemas.tables import LINES
from tests.actions import TwoSecondActions
from tests.asking import Videos
from tests.search.test_words import defined

Line = tuple[int, str, int, float, float, str]
TEXT = "red ball"
Ask = Callable[[str], list[dict[str, Any]]]


def say(videos: Videos, video_id: int, source: str, lines: list[tuple[float, float, str]]) -> None:
    table = pa.table([list(column) for column in zip(*lines, strict=True)], schema=LINES)
    videos.store.transcripts.put(video_id, Said(source, "en", source, table))


@pytest.fixture
def lines(videos: Videos) -> list[Line]:
    """Lines of videos 1 and 2 by two sources, overlapping; video 3 has none."""
    draw, told = random.Random(3), list[Line]()
    words = ["red", "ball", "blue", "dog", "goes", "away"]
    for video_id, source in ((1, "a.srt"), (1, "b.vtt"), (2, "a.srt")):
        spans = sorted((draw.uniform(0, 19), draw.uniform(0.1, 3)) for _ in range(15))
        own = [
            (round(start, 3), round(start + length, 3), " ".join(draw.choices(words, k=4)))
            for start, length in spans
        ]
        say(videos, video_id, source, own)
        told += [(video_id, source, at, *line) for at, line in enumerate(own)]
    return told


@pytest.fixture
def ask(videos: Videos, sandbox: Sandbox) -> Ask:
    def run(sql: str) -> list[dict[str, Any]]:
        context = videos.context(sandbox)
        context.actions = TwoSecondActions
        return run_sql(context, sql, max_rows=10_000).table.to_pylist()

    return run


def best(lines: list[Line], video_id: int, start: float, stop: float) -> float | None:
    """The best score of the lines that overlap `[start, stop)`."""
    scores = defined([line[5].split() for line in lines], set(TEXT.split()))
    own = [line for line in lines if line[0] == video_id]
    near = [
        score
        for line, score in zip(lines, scores, strict=True)
        if line[0] == video_id and line[3] < stop and start < line[4]
    ]
    return max(near, default=0.0) if own else None


@pytest.mark.parametrize(
    ("relation", "handle", "start", "stop"),
    [
        ("videos", "video_id", "0", "99"),
        ("gops", "gop", "start_seconds", "stop_seconds"),
        ("clips", "clip", "start_seconds", "stop_seconds"),
        ("frames", "frame", "seconds", "seconds + 1e-9"),
        ("moments('a dog')", "start_seconds", "start_seconds", "stop_seconds"),
    ],
)
def test_a_row_has_the_best_score_of_the_lines_in_its_time(
    lines: list[Line], ask: Ask, relation: str, handle: str, start: str, stop: str
) -> None:
    rows = ask(
        f"SELECT x.video_id, {start} AS a, {stop} AS b, TEXT_MATCH(x.{handle}, '{TEXT}') AS s"
        f" FROM {relation} x"
    )
    assert {row["video_id"] for row in rows} == {1, 2, 3}
    for row in rows:
        expected = best(lines, row["video_id"], float(row["a"]), float(row["b"]))
        assert row["s"] == pytest.approx(expected), row


def test_lines_are_rows(lines: list[Line], ask: Ask) -> None:
    rows = ask(f"SELECT *, TEXT_MATCH(line, '{TEXT}') AS s FROM transcript ORDER BY ALL")
    scores = defined([line[5].split() for line in lines], set(TEXT.split()))
    expected = sorted((*line[:1], *line[2:], "en", line[1]) for line in lines)
    assert [tuple(row.values())[:-1] for row in rows] == expected
    by_line = {
        (line[0], line[1], line[2]): score for line, score in zip(lines, scores, strict=True)
    }
    for row in rows:
        key = row["video_id"], row["source"], row["line"]
        assert row["s"] == pytest.approx(by_line[key])
    joined = ask(
        "SELECT count(*) AS n FROM transcript JOIN videos USING (video_id) WHERE name = 'v2.mp4'"
    )
    assert joined == [{"n": 15}]


def test_alone_it_is_a_condition(videos: Videos, lines: list[Line], ask: Ask) -> None:
    videos.asked.clear()
    rows = ask("SELECT frame FROM frames WHERE TEXT_MATCH(frame, 'red') ORDER BY video_id, frame")
    some = ask(
        "SELECT frame FROM frames WHERE TEXT_MATCH(frame, 'red') > 0 ORDER BY video_id, frame"
    )
    assert rows == some != []
    assert ask("SELECT name FROM videos WHERE NOT TEXT_MATCH(video_id, 'absent')") == [
        {"name": "v1.mp4"}, {"name": "v2.mp4"},
    ]  # fmt: skip
    assert videos.asked == []  # nothing is embedded for words


def test_it_joins_with_pictures_and_comes_before_them(
    lines: list[Line], ask: Ask, videos: Videos, sandbox: Sandbox
) -> None:
    sql = (
        "SELECT f.frame, TEXT_MATCH(f.frame, 'red') AS words FROM frames f JOIN videos USING"
        " (video_id) WHERE TEXT_MATCH(f.frame, 'red') AND CLIP_MATCH(f.frame, 'a dog') > 0.3"
    )
    apart = ask(
        "SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS image, TEXT_MATCH(f.frame, 'red') AS words"
        " FROM frames f"
    )
    both = [(r["frame"], r["words"]) for r in apart if r["image"] > 0.3 and (r["words"] or 0) > 0]
    assert sorted((row["frame"], row["words"]) for row in ask(sql)) == sorted(both) != []
    plan = run_sql(videos.context(sandbox), f"EXPLAIN {sql}", max_rows=99).explain
    score, words = plan.index("Score "), plan.index("TextMatch __text_1 = 'red'")
    assert score < words  # below it: only frames with the word are scored
    assert "Filter where __text_1 > 0" in plan[score:words]
    named = "SELECT TEXT_MATCH(d.f, 'red') AS s FROM (SELECT frame AS f FROM frames) d"
    assert len(ask(named)) == len(apart)


def test_lines_that_come_while_frames_are_embedded_belong_to_the_answer(
    lines: list[Line], videos: Videos, sandbox: Sandbox
) -> None:
    def embed(missing: Sequence[Range], options: Options) -> Embedded:
        say(videos, 3, "late.srt", [(0.0, 1.0, "a red ball")])
        return videos.embed(missing, options)

    context = videos.context(sandbox)
    context.embed = embed
    sql = (
        "SELECT DISTINCT v.video_id, TEXT_MATCH(v.video_id, 'red') IS NULL AS unheard, t.lines"
        " FROM videos v JOIN (SELECT video_id, count(*) AS lines FROM transcript GROUP BY 1) t"
        " USING (video_id) JOIN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > -2)"
        " USING (video_id) ORDER BY 1"
    )
    rows = run_sql(context, sql, max_rows=99).table.to_pylist()
    assert [list(row.values()) for row in rows] == [[1, False, 30], [2, False, 15], [3, False, 1]]


def test_many_long_lines_over_many_spans_give_the_best_of_each() -> None:
    """Spans that lie within each other too, against each line held to each span."""
    draw = np.random.default_rng(0)
    for points in (True, False) * 60:
        count, said = draw.integers(0, 40), draw.integers(0, 30)
        starts, begins = draw.integers(0, 20, count) / 2, draw.integers(-4, 20, said) / 2
        stops = np.nextafter(starts, 99) if points else starts + draw.integers(1, 14, count) / 2
        ends, values = begins + draw.integers(1, 30, said) / 2, draw.random(said)
        before = draw.random(count) * 0.3
        overlap = (starts[:, None] < ends) & (stops[:, None] > begins)
        wanted = np.maximum(before, np.where(overlap, values, 0.0).max(1, initial=0.0))
        found = before.copy()
        raise_scores(found, draw.permutation(count), starts, stops, (begins, ends, values))
        np.testing.assert_array_equal(found, wanted)


def test_without_transcripts_it_is_null(ask: Ask) -> None:
    assert ask("SELECT DISTINCT TEXT_MATCH(video_id, 'red') AS s FROM videos") == [{"s": None}]
    assert ask("SELECT * FROM transcript") == []


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT TEXT_MATCH(video_id, 'x') FROM frames", "a row of frames is meant by frame"),
        ("SELECT TEXT_MATCH(frame) FROM frames", "TEXT_MATCH"),
        ("SELECT TEXT_MATCH(frame, 'x', 1) FROM frames", "TEXT_MATCH"),
        ("SELECT TEXT_MATCH(frame, ' ') FROM frames", "not empty"),
        ("SELECT TEXT_MATCH(seconds, 'x') FROM frames", "expected the handle frame"),
        ("SELECT TEXT_MATCH('red') FROM frames", "TEXT_MATCH"),
        ("SELECT TEXT_MATCH(frame, 'x') FROM detections", "handle"),
    ],
)
def test_what_is_not_meant_is_refused(ask: Ask, sql: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        ask(sql)
