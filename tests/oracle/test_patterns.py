"""MATCH_RECOGNIZE against a matcher that tries every way in the order of preference."""

import pytest

from engine.errors import EngineError
from engine.planner.row_pattern import Joined, Repeated, RowVariable, read_pattern
from engine.sql import run_sql
from tests.oracle.matcher import judge_pattern
from tests.oracle.world import World


@pytest.mark.parametrize("block", range(6))
def test_random_patterns(block: int, world: World) -> None:
    matched = 0
    for seed in range(block * 25, (block + 1) * 25):
        verdict = judge_pattern(world, seed)
        assert verdict.kind in ("same", "invalid"), f"seed {seed}: {verdict.why}"
        matched += verdict.kind == "same" and verdict.why != "0 rows"
    assert matched >= 8


def test_a_time_that_takes_no_row_is_the_last(world: World) -> None:
    """`(C*?)*` takes none: its first time prefers nothing, and nothing again leads nowhere."""
    verdict = judge_pattern(world, 236857)
    assert verdict.kind == "same", verdict.why
    found = run_sql(
        world.context(),
        "SELECT a, b FROM (SELECT range AS i FROM range(4)) MATCH_RECOGNIZE (ORDER BY i MEASURES"
        " FIRST(i) AS a, LAST(i) AS b PATTERN (A (C*?)*) DEFINE A AS i = 0, C AS i > 0)",
        max_rows=10,
    )
    assert found.rows() == [{"a": 0, "b": 0}]


def test_it_is_linear_in_the_rows(world: World) -> None:
    """A pattern on which backtracking takes for ever: nested repetition that never ends well."""
    sql = (
        "SELECT count(*) AS n FROM (SELECT range AS i FROM range(20000)) MATCH_RECOGNIZE"
        " (ORDER BY i MEASURES FIRST(i) AS a PATTERN ((A+ A+)+ B) DEFINE A AS i >= 0, B AS i < 0)"
    )
    assert run_sql(world.context(), sql, max_rows=10).rows() == [{"n": 0}]


def test_it_is_read_like_a_derived_table(world: World) -> None:
    sql = (
        "WITH d AS (SELECT *, CLIP_MATCH(frame, 'a dog') AS dog FROM frames WHERE video_id < 4),"
        " m AS (SELECT * FROM d MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES"
        " max(dog) AS best, CLASSIFIER() AS last PATTERN (HIGH+) DEFINE HIGH AS dog > 0.1))"
        " SELECT v.name, m.best, m.last FROM m JOIN videos v USING (video_id) ORDER BY m.best DESC"
    )
    best = run_sql(world.context(), sql, max_rows=10).rows()
    assert {row["last"] for row in best} == {"HIGH"}
    scores = {
        f: world.score(f, "a dog") for f in (1000 * v + i for v in (1, 2, 3) for i in range(6))
    }
    assert best[0]["best"] == pytest.approx(max(scores.values()), abs=1e-4)
    run_sql(world.context(), f"CREATE VIEW runs AS {sql}", max_rows=10)
    assert run_sql(world.context(), "SELECT * FROM runs", max_rows=10).rows() == best
    run_sql(world.context(), "DROP VIEW runs", max_rows=10)


HEAD = "SELECT * FROM frames MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES "


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("1 AS x PATTERN (A B DEFINE A AS true)", "closed|expect"),
        ("1 AS x PATTERN (A*) DEFINE A AS true)", "matches no rows at all"),
        ("1 AS x PATTERN (A{3,2}) DEFINE A AS true)", "up to 1000 times, rising"),
        ("1 AS x PATTERN (A) DEFINE B AS true)", "DEFINE has B, which PATTERN has not"),
        ("1 AS x PATTERN (A B) DEFINE B AS B.seconds > A.seconds)", "match so far: a.seconds"),
        ("1 AS x PATTERN (A B) DEFINE B AS seconds > FIRST(seconds))", "looks at the match so far"),
        ("1 AS x ALL ROWS PER MATCH PATTERN (A) DEFINE A AS true)", "allowed: ONE ROW PER MATCH"),
        ("1 AS x AFTER MATCH SKIP TO LAST A PATTERN (A) DEFINE A AS true)", "AFTER MATCH SKIP"),
        ("count(A.*) AS n PATTERN ((A B)+) DEFINE A AS true)", "which is repeated together with"),
        ("max(C.seconds) AS n PATTERN (A B) DEFINE A AS true)", "C is no variable of PATTERN"),
        ("LAST(seconds, -1) AS n PATTERN (A+) DEFINE A AS true)", "rows, a whole number"),
        ("LAST(seconds, seconds) AS n PATTERN (A+) DEFINE A AS true)", "rows, a whole number"),
        ("CLASSIFIER(A) AS n PATTERN (A) DEFINE A AS true)", r"allowed: CLASSIFIER\(\) without"),
        ("MATCH_NUMBER(1) AS n PATTERN (A) DEFINE A AS true)", r"allowed: MATCH_NUMBER\(\)"),
        ("sum(seconds) OVER () AS n PATTERN (A) DEFINE A AS true)", "MEASURES: .*no windows"),
        ("1 AS x PATTERN (A) DEFINE A AS row_number() OVER () > 1)", "DEFINE of A: .*no windows"),
        ("1 AS x PATTERN (A) DEFINE A AS PREV(seconds, 1, 9) > 1)", r"PREV\(expression \[, rows"),
        ("secnds AS n PATTERN (A) DEFINE A AS true)", "nearest: seconds"),
        ("1 AS x PATTERN (A) DEFINE A AS secnds > 1)", "nearest: seconds"),
    ],
)  # fmt: skip
def test_what_is_refused(rest: str, said: str, world: World) -> None:
    with pytest.raises(EngineError, match=f"(?i){said}"):
        run_sql(world.context(), HEAD + rest, max_rows=10)


def test_a_join_goes_around(world: World) -> None:
    sql = "SELECT * FROM frames JOIN videos USING (video_id) MATCH_RECOGNIZE (ORDER BY seconds"
    with pytest.raises(EngineError, match="put a join into a derived table"):
        run_sql(world.context(), f"{sql} MEASURES 1 AS x PATTERN (A) DEFINE A AS true)", max_rows=9)


def test_suffixes_are_read() -> None:
    assert read_pattern("A {2 , 3}? | (B)") == Joined(
        (Repeated(RowVariable("A"), "{2,3}?", 2), RowVariable("B")), choice=True
    )
