"""`exact = true` on a store of approximate rows answers as exact rows would."""

import pytest

from engine.sql import run_sql
from tests.oracle.generator import Generator
from tests.oracle.judge import engine_text, judge
from tests.oracle.world import World

EXACT = " OPTIONS (exact = true)"
SPELLINGS = [
    "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1",
    "SELECT frame FROM frames WHERE 0.1 < CLIP_MATCH(frame, 'a dog')",
    "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') BETWEEN 0.05 AND 0.3",
    "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.05 + 0.05",
    "SELECT frame FROM frames WHERE 2 * CLIP_MATCH(frame, 'a dog') - 0.1 > 0.1",
    "SELECT frame FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) WHERE s > 0.1",
    "SELECT video_id FROM frames GROUP BY video_id HAVING max(CLIP_MATCH(frame, 'a dog')) > 0.3",
    "SELECT v.name, count(f.frame) FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id"
    " AND CLIP_MATCH(f.frame, 'a dog') > 0.1 GROUP BY v.name",
    "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC, frame LIMIT 10",
    "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') LIMIT 10",
    "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > CLIP_MATCH(frame, 'a cat')",
    "SELECT frame, CLIP_MATCH(frame, 'a cat') AS s FROM frames WHERE seconds > 1",
    "SELECT frame, CLIP_MATCH(frame, 'a cat') AS s FROM frames ORDER BY s DESC LIMIT 5",
    "SELECT count(*) FILTER (WHERE CLIP_MATCH(frame, 'a dog') > 0.1) AS n FROM frames",
    "SELECT video_id, avg(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id",
    "SELECT frame FROM frames WHERE \"at\" IS NULL ORDER BY CLIP_MATCH(frame, 'a dog') LIMIT 1",
    "SELECT video_id, frame FROM frames QUALIFY row_number() OVER (PARTITION BY video_id"
    " ORDER BY CLIP_MATCH(frame, 'a dog') DESC) = 1",
]


@pytest.mark.parametrize("sql", SPELLINGS)
def test_every_spelling_is_exact(sql: str, fresh_approximate_world: World) -> None:
    verdict = judge(fresh_approximate_world, sql, options=EXACT)
    assert verdict.kind == "same", verdict.why
    result = run_sql(fresh_approximate_world.context(), sql + EXACT, max_rows=1000)
    assert result.coverage.exact


def test_random_statements_are_exact(approximate_world: World) -> None:
    for seed in range(9_000, 9_060):
        sql = Generator(seed).statement()
        verdict = judge(approximate_world, sql, options=EXACT)
        assert verdict.kind in ("same", "invalid"), f"seed {seed}: {verdict.why}"


def test_columns_say_what_was_so_when_the_statement_began(
    fresh_approximate_world: World,
) -> None:
    sql = "SELECT frame, exact, strategy, CLIP_MATCH(frame, 'a dog') AS s FROM frames"
    where = " WHERE NOT exact AND drift > 0 AND reuse_rate >= 0"
    assert judge(fresh_approximate_world, sql + where, options=EXACT).why == "24 rows"
    assert judge(fresh_approximate_world, sql, options=EXACT).why == "36 rows"
    assert judge(fresh_approximate_world, sql + where, options=EXACT).why == "0 rows"


def test_an_answer_that_is_not_exact_says_so(fresh_approximate_world: World) -> None:
    world = fresh_approximate_world
    sql = "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1"
    for options in ("", " OPTIONS (exact = false)", " OPTIONS (exact = true, refine_frames = 0)"):
        result = run_sql(world.context(), engine_text(sql) + options, max_rows=1000)
        assert not result.coverage.exact
        assert result.coverage.complete
    result = run_sql(world.context(), sql + EXACT, max_rows=1000)
    assert result.coverage.exact
    assert result.coverage.refined > 0


def test_cuts_make_only_rows_near_them_exact(fresh_approximate_world: World) -> None:
    sql = "SELECT frame FROM frames WHERE 0.7 < CLIP_MATCH(frame, 'a dog')"
    refined = run_sql(fresh_approximate_world.context(), sql + EXACT, max_rows=1000).coverage
    assert refined.exact
    shown = "SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames"
    rest = run_sql(fresh_approximate_world.context(), shown + EXACT, max_rows=1000).coverage
    assert rest.exact
    assert rest.refined + refined.refined == 24
