"""The range of a score that a condition leaves: no row for which DuckDB says true lies outside."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from engine.planner.cuts import ranges_of
from engine.search.scores import ScoreRange

NUMBERS = st.sampled_from(["0", "0.1", "0.25", "1", "-0.1", "0.05 + 0.05", "-(0.2 - 0.3)", "1e-2"])
COLUMNS = st.sampled_from(["__match_1", "__match_2", "seconds"])
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "=", "<>"])
LINES = st.builds(
    lambda form, column, number: form.format(column, number),
    st.sampled_from(["{0}", "({0})", "-{0}", "2 * {0}", "{0} / -4", "{0} - {1}", "{1} - {0}"]),
    COLUMNS,
    NUMBERS,
)
SIDES = st.one_of(LINES, NUMBERS)
LEAVES = st.one_of(
    st.builds("{} {} {}".format, SIDES, SIGNS, SIDES),
    st.builds("{} BETWEEN {} AND {}".format, SIDES, SIDES, SIDES),
    st.builds("{} IS NULL".format, COLUMNS),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def grid() -> duckdb.DuckDBPyConnection:
    """Scores around all numbers that conditions compare them with, and none."""
    connection = duckdb.connect(config={"threads": "1"})
    connection.execute(
        "CREATE TABLE lines AS SELECT i / 20.0::DOUBLE v FROM range(-25, 26) t(i) UNION SELECT NULL"
    )
    connection.execute(
        "CREATE TABLE frames AS SELECT a.v AS __match_1, b.v AS __match_2, 0.5 AS seconds"
        " FROM lines a, lines b"
    )
    return connection


@given(st.lists(CONDITIONS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_no_row_for_which_all_conditions_hold_lies_outside(
    grid: duckdb.DuckDBPyConnection, conditions: list[str]
) -> None:
    found = ranges_of([parse_one(text, dialect="duckdb") for text in conditions])
    where = " AND ".join(f"({text})" for text in conditions)
    for name, kept in found.items():
        sql = f"SELECT min({name}), max({name}), count(*), count({name}) FROM frames WHERE {where}"
        low, high, rows, valued = grid.execute(sql).fetchall()[0]
        assert rows == valued, "a row without the score passes"
        assert low is None or (low >= kept.low - 1e-9 and high <= kept.high + 1e-9)


@pytest.mark.parametrize(
    ("condition", "low", "high"),
    [
        ("__match_1 > 0.3", 0.3, None),
        ("0.3 < __match_1", 0.3, None),
        ("__match_1 BETWEEN 0.1 AND 0.2", 0.1, 0.2),
        ("__match_1 >= 0.05 + 0.05 AND __match_1 < 1", 0.1, 1),
        ("-__match_1 > -0.3", None, 0.3),
        ("1 - 2 * __match_1 <= 0.5", 0.25, None),
        ("__match_1 > 0.3 OR (__match_1 > 0.2 AND seconds < 3)", 0.2, None),
    ],
)
def test_the_range_is_found(condition: str, low: float | None, high: float | None) -> None:
    kept = ranges_of([parse_one(condition, dialect="duckdb")])["__match_1"]
    assert kept == ScoreRange(
        float("-inf") if low is None else pytest.approx(low),
        float("inf") if high is None else pytest.approx(high),
    )


@pytest.mark.parametrize(
    "condition",
    [
        "__match_1 > 0.3 OR seconds < 3",
        "__match_1 > __match_2",
        "__match_1 <> 0.3",
        "__match_1 * __match_1 > 0.3",
        "0 * __match_1 > 0.3",
        "__match_1 > 1e400",
    ],
)
def test_what_says_nothing_of_a_score_alone_leaves_it_all(condition: str) -> None:
    assert ranges_of([parse_one(condition, dialect="duckdb")]) == {}


def test_a_condition_without_a_score_has_no_range() -> None:
    assert ranges_of([exp.true()]) == {}
