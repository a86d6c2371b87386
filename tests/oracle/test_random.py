"""Random statements of fixed seeds against a stock DuckDB; `make fuzz` asks thousands."""

from collections import Counter

import pytest

from tests.oracle.generator import Generator
from tests.oracle.judge import judge
from tests.oracle.shrink import shrink
from tests.oracle.world import World

BLOCKS, SIZE = 10, 30


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


def test_what_fails_by_statistics_alone_is_no_mismatch(world: World) -> None:
    verdict = judge(world, Generator(3001270).statement())
    assert (verdict.kind, verdict.why.split()[-1]) == ("invalid", "statistics")


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
    }  # fmt: skip
    assert min(used.values()) >= 3


def test_a_failing_statement_shrinks() -> None:
    sql = (
        "SELECT f.frame, v.name FROM frames AS f JOIN videos AS v USING (video_id)"
        " WHERE f.seconds < 3 AND (v.width > 1 OR v.codec = 'h264') ORDER BY f.frame LIMIT 4"
    )
    assert shrink(sql, lambda s: "frames" in s) == "SELECT v.name FROM frames AS f"
