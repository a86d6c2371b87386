"""A statement over views answers as the stock DuckDB does, whose views they are too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import commands
from engine.errors import EngineError, NotFoundError, ParseError, UsageError
from engine.planner.prepare import Prepared, prepare
from engine.sql import run_sql
from tests.oracle.judge import judge
from tests.oracle.world import World

VIEWS = {
    "north": "SELECT * FROM videos WHERE camera = 'north'",
    "dogs": "SELECT f.*, CLIP_MATCH(f.frame, 'a dog') AS dog FROM frames f",
    "best": "SELECT video_id, max(dog) AS best FROM dogs GROUP BY video_id",
    "seen": "SELECT d.*, n.name FROM dogs d JOIN north n USING (video_id) WHERE dog > 0.1",
    "ranked": "WITH s AS (SELECT * FROM dogs) SELECT *, row_number() OVER (PARTITION BY video_id"
    " ORDER BY dog DESC) AS place FROM s",
    "times": "SELECT video_id, seconds FROM frames UNION ALL SELECT video_id, start_seconds"
    " FROM gops",
}
STATEMENTS = (Path(__file__).parent / "views.sql").read_text().splitlines()


@pytest.fixture(scope="module")
def viewing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own with the views, and the twin with the same."""
    made = World(tmp_path_factory.mktemp("views") / "data")
    for name, select in VIEWS.items():
        run_sql(made.context(), f"CREATE VIEW {name} AS {select}", max_rows=10)
        made.twin.execute(f"CREATE VIEW {name} AS {select}")
    yield made
    made.close()


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_statement_over_views(sql: str, viewing: World) -> None:
    verdict = judge(viewing, sql)
    assert verdict.kind == "same", verdict.why
    if not sql.startswith("DESCRIBE"):
        assert verdict.why != "0 rows"


def test_whatever_is_listed_can_be_described(viewing: World) -> None:
    context = viewing.context()
    for name in run_sql(context, "SHOW TABLES", max_rows=99).table["name"].to_pylist():
        described = run_sql(context, f"DESCRIBE {name}", max_rows=99)
        assert described.table.num_rows


def test_scores_in_views_are_made_exact(tmp_path: Path) -> None:
    world = World(tmp_path / "data", approximate=True)
    for name, select in VIEWS.items():
        run_sql(world.context(), f"CREATE VIEW {name} AS {select}", max_rows=10)
        world.twin.execute(f"CREATE VIEW {name} AS {select}")
    for sql in ("SELECT frame FROM dogs WHERE dog > 0.3", "SELECT * FROM best ORDER BY video_id"):
        assert judge(world, sql, options=" OPTIONS (exact = true)").kind == "same"
    world.close()


def plan_of(world: World, sql: str) -> object:
    vocabulary = world.store.catalog.vocabulary()
    found = prepare(
        sql, (), {}, world.sandbox, false_match_rate=0.01, max_rows=10, vocabulary=vocabulary
    )
    return found.plan.inputs


@pytest.mark.parametrize(
    ("over", "written"),
    [
        ("SELECT frame FROM dogs WHERE video_id = 2 AND dog > 0.3",
         f"SELECT frame FROM ({VIEWS['dogs']}) dogs WHERE video_id = 2 AND dog > 0.3"),
        ("SELECT frame FROM dogs ORDER BY dog DESC LIMIT 4",
         f"SELECT frame FROM ({VIEWS['dogs']}) dogs ORDER BY dog DESC LIMIT 4"),
    ],
)  # fmt: skip
def test_a_view_is_planned_as_what_it_stands_for(over: str, written: str, viewing: World) -> None:
    assert plan_of(viewing, over) == plan_of(viewing, written)


REFUSED: list[tuple[str, type[EngineError], str]] = [
    ("CREATE VIEW dogs AS SELECT 1", UsageError, "view dogs is there; CREATE OR REPLACE"),
    ("CREATE VIEW frames AS SELECT 1", UsageError, "the engine's own name"),
    ("CREATE VIEW __x AS SELECT 1", UsageError, "the engine's own name"),
    ("CREATE VIEW x AS SELECT secnds FROM frames", EngineError, "nearest: seconds"),
    ("CREATE VIEW x AS SELECT $a", EngineError, "no value for parameter"),
    ("CREATE VIEW x AS SELECT 1 OPTIONS (exact = true)", EngineError, "a SELECT alone"),
    ("CREATE VIEW x AS DROP VIEW dogs", ParseError, "only SELECT is accepted, got DROP"),
    ("CREATE VIEW x AS SELECT 1; DROP VIEW dogs", ParseError, "expected one statement"),
    ("CREATE VIEW x AS", ParseError, "expected a SELECT after AS"),
    ("CREATE TABLE x AS SELECT 1", ParseError, "expected CREATE .OR REPLACE. VIEW"),
    ("CREATE OR REPLACE VIEW dogs AS SELECT * FROM best", ParseError, "reads itself"),
    ("CREATE OR REPLACE VIEW dogs AS SELECT 1 AS a", UsageError, "reads dogs and would fail"),
    ("DROP VIEW dogs", UsageError, "is read by best, ranked, seen; drop that first"),
    ("DROP VIEW dgos", NotFoundError, "unknown view 'dgos'; allowed: best, dogs"),
    ("DROP TABLE dogs", ParseError, "expected DROP VIEW"),
    ("SHOW", ParseError, "expected a relation"),
    ("SELECT * FROM dgos", EngineError, "relation 'dgos'; allowed: best, clips, detections"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "kind", "said"), REFUSED)
def test_what_is_refused(sql: str, kind: type[EngineError], said: str, viewing: World) -> None:
    before = viewing.store.catalog.views()
    with pytest.raises(kind, match=said):
        run_sql(viewing.context(), sql, max_rows=10)
    assert viewing.store.catalog.views() == before


def test_the_place_of_an_error_is_in_the_whole_statement(viewing: World) -> None:
    sql = "CREATE VIEW x AS SELECT secnds FROM frames"
    with pytest.raises(EngineError) as caught:
        run_sql(viewing.context(), sql, max_rows=10)
    assert (caught.value.sql, caught.value.position) == (sql, sql.index("secnds"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        ("DROP VIEW a", "unknown relation 'a'"),
        ("CREATE OR REPLACE VIEW a AS SELECT 1 AS y", '"x" not found'),
        ("CREATE VIEW b AS SELECT 2 AS z", "view b is there"),
    ],
)
def test_a_view_is_checked_among_those_that_are_there_when_it_is_made(
    meanwhile: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "data")
    run_sql(world.context(), "CREATE VIEW a AS SELECT 1 AS x", max_rows=10)

    def prepare_late(*given: Any, **more: Any) -> Prepared:
        planned = prepare(*given, **more)
        monkeypatch.undo()
        run_sql(world.context(), meanwhile, max_rows=10)
        return planned

    monkeypatch.setattr(commands, "prepare", prepare_late)
    with pytest.raises(EngineError, match=said):
        run_sql(world.context(), "CREATE VIEW b AS SELECT x FROM a", max_rows=10)
    assert world.store.catalog.views().get("b") in (None, "SELECT 2 AS z")
    world.close()


def test_views_are_listed_replaced_and_dropped(tmp_path: Path) -> None:
    world = World(tmp_path / "data")

    def ask(sql: str) -> list[tuple[object, ...]]:
        table = run_sql(world.context(), sql, max_rows=10).table
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    relations = [
        ("clips",),
        ("detections",),
        ("frames",),
        ("gops",),
        ("moments",),
        ("nearest",),
        ("transcript",),
        ("videos",),
    ]
    assert ask("SHOW TABLES") == relations
    assert ask("SHOW VIEWS") == []
    assert ask("create view a as select 1 as x -- one") == [("a",)]
    assert ask("-- more\nCREATE VIEW b AS FROM a") == [("b",)]
    assert ask("SELECT x FROM b") == [(1,)]
    assert ask("CREATE OR REPLACE VIEW a AS SELECT 2 AS x;") == [("a",)]
    assert ask("SELECT x FROM B") == [(2,)]
    assert ask("SHOW VIEWS") == [("a", "SELECT 2 AS x"), ("b", "FROM a")]
    assert ask("SHOW TABLES")[:2] == [("a",), ("b",)]
    assert ask("DROP VIEW b") == [("b",)]
    assert ask("DROP VIEW IF EXISTS b") == [("b",)]
    assert ask("DROP VIEW a") == [("a",)]
    world.close()
