"""PIVOT without IN; what it answers is held against a stock DuckDB among the idioms."""

from collections.abc import Iterator

import pytest

from engine.errors import BindError
from engine.planner import pivots
from engine.sql import run_sql
from tests.oracle.world import World

SQL = "PIVOT frames ON picture USING count(*) GROUP BY video_id"


@pytest.fixture(scope="module")
def pivoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("pivots") / "data")
    yield made
    made.close()


def test_the_plan_lists_the_values(pivoted: World) -> None:
    rows = run_sql(pivoted.context(), f"EXPLAIN {SQL}", max_rows=9).rows()
    assert "ON picture IN ('I', 'P')" in rows[0]["explain"]


def test_options_and_parameters_hold_for_the_values(pivoted: World) -> None:
    sql = (
        "PIVOT (SELECT video_id, seconds, CLIP_MATCH(frame, $t) AS s FROM frames"
        " WHERE seconds > $n) ON seconds USING max(s) GROUP BY video_id OPTIONS (exact = true)"
    )
    rows = run_sql(pivoted.context(), sql, named={"t": "a dog", "n": 1.5}, max_rows=9).rows()
    assert list(rows[0]) == ["video_id", "2.0", "2.5"]
    for row in rows:
        frame = 1000 * row["video_id"] + 4  # two frames a second
        assert row["2.0"] == pytest.approx(pivoted.score(frame, "a dog"), abs=2e-4)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("PIVOT frames ON picure USING count(*)", "nearest: picture"),
        ("PIVOT (SELECT * FROM frames WHERE false) ON picture USING count(*)", "has no value"),
        ("PIVOT frames ON frame USING count(*)", "more than 3 values; list some with IN"),
        ("SELECT * FROM videos v, LATERAL (SELECT * FROM (PIVOT (SELECT picture FROM frames f WHERE"
         " f.video_id = v.video_id) ON picture USING count(*)))", "PIVOT in LATERAL needs its val"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed(
    pivoted: World, sql: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pivots, "MOST_VALUES", 3)
    with pytest.raises(BindError, match=said):
        run_sql(pivoted.context(), sql, max_rows=9)
