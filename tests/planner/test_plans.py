"""A statement that comes again is not planned again, and nothing else is taken for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.planner import prepare as preparing
from engine.planner.plans import LONGEST, MOST_PLANS, Planned, Plans, key_of
from engine.sql import run_sql
from tests.oracle.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small store."""
    made = World(Path(tmp_path_factory.mktemp("world")) / "data")
    yield made
    made.close()


def test_an_integer_of_any_length_makes_no_key() -> None:
    assert key_of("SELECT ?", (10**5000,), {}) is None
    assert key_of("SELECT ?", (2**127,), {}) is not None


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were planned, from no plans on."""
    seen: list[str] = []
    bind = preparing.bind

    def noting(statement, **settings):  # type: ignore[no-untyped-def]
        seen.append(statement.sql)
        return bind(statement, **settings)

    monkeypatch.setattr(preparing, "bind", noting)
    monkeypatch.setattr(preparing, "_PLANS", Plans())
    return seen


def _rows(
    world: World, sql: str, *positional: object, **options: object
) -> list[dict[str, object]]:
    return run_sql(world.context(**options), sql, positional, max_rows=1000).table.to_pylist()


def test_the_same_statement_is_planned_once_and_answers_alike(
    world: World, planned: list[str]
) -> None:
    sql = "SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 3"
    first, second = _rows(world, sql), _rows(world, sql)
    assert first == second
    assert len(first) == 3
    assert planned == [sql]


def test_parameters_and_settings_are_part_of_it(world: World, planned: list[str]) -> None:
    sql = "SELECT typeof(?) AS t"
    assert [_rows(world, sql, value)[0]["t"] for value in (1, 1.0, True, "1")] == [
        "INTEGER", "DOUBLE", "BOOLEAN", "VARCHAR",
    ]  # fmt: skip
    bare = "SELECT count(*) AS n FROM frames WHERE CLIP_MATCH(frame, 'a dog')"
    few, many = (_rows(world, bare, false_match_rate=rate)[0]["n"] for rate in (0.001, 0.49))
    assert few < many  # type: ignore[operator]
    assert len(planned) == 6


def test_a_plan_does_not_hold_on_to_rows(tmp_path: Path, planned: list[str]) -> None:
    world = World(tmp_path / "data")
    try:
        sql = "SELECT count(*) AS n FROM videos"
        before = _rows(world, sql)[0]["n"]
        world._video(8)
        assert _rows(world, sql)[0]["n"] == before + 1  # type: ignore[operator]
        assert planned == [sql]
    finally:
        world.close()


def test_what_is_wrong_is_said_each_time(world: World, planned: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(Exception, match="nowhere"):
            _rows(world, "SELECT nowhere FROM videos")
    assert len(planned) == 2


def test_keys() -> None:
    assert key_of("SELECT $a", (), {"a": 1}) != key_of("SELECT $a", (), {"a": 1.0})
    assert key_of("SELECT $a", (), {"a": 0.0}) != key_of("SELECT $a", (), {"a": -0.0})
    assert key_of("SELECT ?", ([1],), {}) is None
    assert key_of("SELECT ?", (b"image",), {}) is None
    assert key_of("x" * (LONGEST + 1), (), {}) is None
    assert key_of("SELECT ?", ("x" * LONGEST,), {}) is None


def test_they_are_bounded_and_the_oldest_goes() -> None:
    plans, made = Plans(), object()
    for number in range(MOST_PLANS + 10):
        plans.get(number, lambda: made)  # type: ignore[arg-type, return-value]
        plans.get(0, lambda: pytest.fail("it was used last"))  # type: ignore[arg-type, return-value]
    assert len(plans) == MOST_PLANS
    assert plans.get(None, lambda: Planned) is Planned  # type: ignore[arg-type, return-value]
