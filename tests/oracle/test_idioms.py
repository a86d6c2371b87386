"""What analysts type, each against a stock DuckDB."""

from pathlib import Path

import pytest

from tests.oracle.judge import judge
from tests.oracle.world import World

LINES = (Path(__file__).parent / "idioms.sql").read_text().splitlines()
IDIOMS = [line for line in LINES if line and not line.startswith("--")]


@pytest.mark.parametrize("sql", IDIOMS)
def test_idiom(sql: str, world: World) -> None:
    verdict = judge(world, sql)
    assert verdict.kind == "same", verdict.why


def test_there_are_enough_and_no_two_alike() -> None:
    assert len(IDIOMS) >= 400
    assert len(set(IDIOMS)) == len(IDIOMS)


def test_nearly_all_idioms_have_an_answer(world: World) -> None:
    empty = [sql for sql in IDIOMS if not world.twin.execute(sql).fetchall()]
    assert len(empty) <= len(IDIOMS) // 30
