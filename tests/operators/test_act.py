"""ACTION over clips: what is classified, and the rows against plain Python."""

from typing import Any

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, UsageError
from engine.sql import SqlResult, run_sql
from tests.actions import LABELS, TwoSecondActions, shares
from tests.asking import Videos, hash_vector


@pytest.fixture
def actions() -> TwoSecondActions:
    return TwoSecondActions()


def run(
    videos: Videos, sandbox: Sandbox, actions: TwoSecondActions, sql: str, **options: Any
) -> SqlResult:
    context = videos.context(sandbox, **options)
    context.actions = lambda: actions
    return run_sql(context, sql, max_rows=1000)


ALL = [(video, clip) for video in (1, 2, 3) for clip in range(10)]


def test_probabilities_and_labels(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions
) -> None:
    sql = "SELECT video_id, clip, ACTION(clip, 'runs') AS p, ACTION(clip) AS w FROM clips"
    rows = run(shared_videos, sandbox, actions, sql).rows()
    got = {(row["video_id"], row["clip"]): (row["p"], row["w"]) for row in rows}
    assert sorted(got) == ALL
    for key, (p, what) in got.items():
        assert p == pytest.approx(shares(*key)[2], abs=1e-6)
        assert what == LABELS[int(shares(*key).argmax())]


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("ACTION(clip, 'runs') > 0.4", ALL),
        ("ACTION(clip, 'runs') > 0.4 AND start_seconds < 5", [k for k in ALL if k[1] < 3]),
        ("ACTION(clip, 'runs') > 0.4 AND video_id = 2", [k for k in ALL if k[0] == 2]),
        (
            "ACTION(clip, 'runs') > 0.4 AND video_id IN (SELECT video_id FROM videos WHERE name ="
            " 'v3.mp4')",
            [k for k in ALL if k[0] == 3],
        ),
        (
            "(ACTION(clip, 'runs') > 0.4 AND clip < 2) OR (clip = 7 AND video_id = 1)",
            [k for k in ALL if k[1] < 2 or k == (1, 7)],
        ),
        ("ACTION(clip, 'runs') > 0.4 AND start_seconds > 99", []),
    ],
)
def test_what_needs_no_classifying_comes_first(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions, where: str, asked: Any
) -> None:
    sql = f"SELECT video_id, clip FROM clips WHERE {where}"
    rows = run(shared_videos, sandbox, actions, sql).rows()
    assert sorted(actions.asked) == asked
    kept = [key for key in asked if shares(*key)[2] > 0.4 or ("OR" in where and key == (1, 7))]
    assert sorted((row["video_id"], row["clip"]) for row in rows) == kept


def test_a_limit_classifies_no_more(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions
) -> None:
    sql = "SELECT clip, ACTION(clip) FROM clips LIMIT 4"
    assert len(run(shared_videos, sandbox, actions, sql).rows()) == 4
    assert len(actions.asked) == 4


WITHIN = (
    "FROM frames f JOIN clips c ON f.video_id = c.video_id AND f.seconds >= c.start_seconds"
    " AND f.seconds < c.stop_seconds"
)


def test_only_clips_with_a_frame_that_is_left_are_classified(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions
) -> None:
    dog = hash_vector(b"a dog")
    left = {
        (v, n)
        for v in (1, 2, 3)
        for n in range(40)
        if float(shared_videos.vector(v, n) @ dog) > 0.5
    }
    wanted = sorted({(v, n // 4) for v, n in left})
    sql = (
        f"SELECT DISTINCT c.video_id, c.clip {WITHIN}"
        " WHERE CLIP_MATCH(f.frame, 'a dog') > 0.5 AND ACTION(c.clip, 'jumps') > 0.3"
    )
    result = run(shared_videos, sandbox, actions, sql)
    assert 3 <= len(wanted) < len(ALL)
    assert sorted(set(actions.asked)) == wanted
    expected = [key for key in wanted if shares(*key)[1] > 0.3]
    assert sorted((row["video_id"], row["clip"]) for row in result.rows()) == expected
    plan = result.explain
    assert plan.index("Classify __action_1 = 'jumps'") < plan.index("Hold spans")


@pytest.mark.parametrize("kind", ["LEFT", "RIGHT", "FULL"])
def test_clips_that_an_outer_join_shows_are_classified(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions, kind: str
) -> None:
    """Against the same join over the clips' values, written out."""
    values = ", ".join(f"({v}, {c}, {2.0 * c}, {2.0 * c + 2}, {shares(v, c)[2]})" for v, c in ALL)
    form = (
        f"SELECT c.video_id, c.clip, count(f.frame) AS n FROM {{}} c {kind} JOIN frames f"
        " ON f.video_id = c.video_id AND f.seconds >= c.start_seconds AND f.seconds <"
        " c.stop_seconds AND CLIP_MATCH(f.frame, 'a dog') > 0.5 WHERE {} > 0.4 GROUP BY ALL"
    )
    own = run(shared_videos, sandbox, actions, form.format("clips", "ACTION(c.clip, 'runs')"))
    columns = "video_id, clip, start_seconds, stop_seconds, p"
    table = f"(SELECT * FROM (VALUES {values}) AS t({columns}))"
    plain = run(shared_videos, sandbox, actions, form.format(table, "c.p"))
    key = repr
    assert sorted(own.rows(), key=key) == sorted(plain.rows(), key=key)
    assert len(own.rows()) >= 3


def test_frames_of_some_clips_embed_those_alone(videos: Videos, sandbox: Sandbox) -> None:
    sql = (
        f"SELECT f.frame, CLIP_MATCH(f.frame, 'a cat') AS s {WITHIN}"
        " WHERE c.video_id = 3 AND c.start_seconds > 13 AND c.start_seconds < 15"
    )
    rows = run(videos, sandbox, TwoSecondActions(), sql).rows()
    assert sorted(row["frame"] for row in rows) == [28, 29, 30, 31]
    assert [(r.start_seconds, r.stop_seconds) for r in videos.asked] == [(14.0, 16.0)]


def test_what_cannot_be_classified_is_null_and_said(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    actions = TwoSecondActions(frozenset({(1, 3), (2, 0)}))
    sql = "SELECT video_id, clip, ACTION(clip, 'runs') AS p, ACTION(clip) AS w FROM clips"
    result = run(shared_videos, sandbox, actions, sql)
    nothing = {(r["video_id"], r["clip"]) for r in result.rows() if r["p"] is None}
    assert nothing == {(1, 3), (2, 0)}
    assert {(r["video_id"], r["clip"]) for r in result.rows() if r["w"] is None} == nothing
    assert not result.coverage.complete
    assert run(shared_videos, sandbox, TwoSecondActions(), sql).coverage.complete


def test_it_is_explained_with_its_cost(
    shared_videos: Videos, sandbox: Sandbox, actions: TwoSecondActions
) -> None:
    sql = "EXPLAIN SELECT ACTION(clip, 'runs') FROM clips WHERE start_seconds < 5"
    text = run(shared_videos, sandbox, actions, sql).explain
    assert "Classify __action_1 = 'runs'" in text
    assert "0 clips stored, 9 to classify: 2.25 s" in text
    assert actions.asked == []
    text = run(shared_videos, sandbox, actions, sql.replace("EXPLAIN", "EXPLAIN ANALYZE")).explain
    assert "clips: 0 from store, 9 decoded and classified in" in text


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("SELECT ACTION(clip, 'jumsp') FROM clips", UsageError, "nearest: jumps"),
        (
            "EXPLAIN SELECT ACTION(clip, 'x') FROM clips",
            UsageError,
            "allowed: jumps, moving left",
        ),
        ("SELECT * FROM clips WHERE ACTION(clip, 'runs')", BindError, "compare it, as in > 0.5"),
        ("SELECT ACTION(clip, 'a', 'b') FROM clips", BindError, "expected ACTION"),
        ("SELECT ACTION(clip, start_seconds) FROM clips", BindError, "expected ACTION"),
        ("SELECT ACTION(frame, 'runs') FROM frames", BindError, "expected the handle clip"),
        ("SELECT ACTION(clip, ' ') FROM clips", BindError, "a text that is not empty"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    shared_videos: Videos,
    sandbox: Sandbox,
    actions: TwoSecondActions,
    sql: str,
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said) as caught:
        run(shared_videos, sandbox, actions, sql)
    assert "\n" not in str(caught.value)
    assert actions.asked == []


def test_without_a_model_it_says_so(shared_videos: Videos, sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match="needs an action model"):
        run_sql(shared_videos.context(sandbox), "SELECT * FROM clips", max_rows=10)
