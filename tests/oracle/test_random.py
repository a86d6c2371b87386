"""Random statements of fixed seeds against a stock DuckDB; `make fuzz` asks thousands."""

from collections import Counter
from random import Random

import pytest

from engine.sql import run_sql
from tests.oracle.generator import Generator
from tests.oracle.judge import judge
from tests.oracle.prepared import prepared
from tests.oracle.shrink import shrink
from tests.oracle.world import World

BLOCKS, SIZE = 10, 30
BY_STATISTICS = (  # `name > 'v1.mp4'` compares a number where a row is left, and none is
    "WITH c AS (SELECT v2.num_frames AS c3, g1.stop_seconds AS name FROM gops g1 JOIN videos v2"
    " ON g1.video_id = v2.video_id ORDER BY ALL LIMIT 10%) SELECT c.c3 AS score, c.* FROM c JOIN c"
    " c2 ON c.c3 = c2.c3 WHERE c.c3 = (SELECT min(v6.width) FROM videos v6) AND c2.name > 'v1.mp4'"
    " AND NOT (c2.c3 IS NOT NULL)"
)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_statements(block: int, world: World) -> None:
    found: Counter[str] = Counter()
    for seed in range(block * SIZE, (block + 1) * SIZE):
        sql = Generator(seed).statement()
        verdict = judge(world, sql)
        found[verdict.kind] += 1
        found["answered"] += verdict.kind == "same" and verdict.why != "0 rows"
        if verdict.kind not in ("same", "invalid"):
            kind = verdict.kind
            small = shrink(sql, lambda s, kind=kind: judge(world, s).kind == kind)  # type: ignore[misc]
            pytest.fail(f"seed {seed}: {verdict.kind}, {verdict.why}\n{small}\nout of {sql}")
    assert found["invalid"] <= 1
    assert found["answered"] >= SIZE // 3


def test_statements_with_parameters(world: World) -> None:
    found: Counter[str] = Counter()
    for seed in range(BLOCKS * SIZE, BLOCKS * SIZE + 24):
        sql, given = prepared(Generator(seed).statement(), Random(seed))
        verdict = judge(world, sql, given=given)
        found[verdict.kind] += 1
        found["given"] += len(given)
        assert verdict.kind in ("same", "invalid"), f"{verdict.why}\n{sql}\n{given}"
    assert found["same"] >= 18
    assert found["given"] >= 24


def test_what_fails_by_statistics_alone_is_no_mismatch(world: World) -> None:
    verdict = judge(world, BY_STATISTICS)
    assert (verdict.kind, verdict.why.split()[-1]) == ("invalid", "statistics")


def test_where_the_stock_duckdb_is_wrong_by_its_optimizer(world: World) -> None:
    """RIGHT JOIN keeps all frames, so they exist; DuckDB 2.0.0 says that there are none."""
    sql = (
        "SELECT count(*) AS n FROM frames f WHERE EXISTS (SELECT 1 FROM videos v RIGHT JOIN"
        " frames g ON v.codec < 'h264')"
    )
    verdict = judge(world, sql)
    assert verdict.kind == "same" or "optimizer" in verdict.why
    assert run_sql(world.context(), sql, max_rows=9).rows() == [{"n": 36}]


def test_every_construct_is_asked_for() -> None:
    used: Counter[str] = Counter()
    for seed in range(BLOCKS * SIZE):
        generator = Generator(seed)
        generator.statement()
        used.update(generator.used)
    assert set(used) >= {
        "exists", "member", "scalar", "outer", "lateral join", "left lateral join", "nested join",
        "qualify", "semi join", "anti join", "full join", "pivot", "CUBE", "ROLLUP",
        "GROUPING SETS", "recursive", "setop", "derived", "cte read twice", "window", "bare",
        "view", "comma",
    }  # fmt: skip
    assert min(used.values()) >= 3


def test_a_failing_statement_shrinks() -> None:
    sql = (
        "SELECT f.frame, v.name FROM frames AS f JOIN videos AS v USING (video_id)"
        " WHERE f.seconds < 3 AND (v.width > 1 OR v.codec = 'h264') ORDER BY f.frame LIMIT 4"
    )
    assert shrink(sql, lambda s: "frames" in s) == "SELECT v.name FROM frames AS f"
