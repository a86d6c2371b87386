"""Values of every type arrive in DuckDB as what they are."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pytest

from engine.errors import BindError
from engine.planner.parse import parse


def value_of(sql: str, *positional: Any, **named: Any) -> Any:
    """What a stock DuckDB makes of the statement once its values stand in it."""
    rows = duckdb.execute(parse(sql, positional, named).query.sql("duckdb")).fetchall()
    return rows[0][0]


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": {"c'": [1.5, None]}}, [{"a": 1}, {"a": 2}], -0.0,
        "it's", "", 3, -3, 2**40, 0.25, -1e-9, 1e300, True, False, None, [1, 2], ["a", None], [],
        date(2020, 2, 29), datetime(2020, 1, 2, 3, 4, 5, 678), time(1, 2, 3, 4),
        timedelta(days=-1, microseconds=5), timedelta(hours=30), UUID(int=7),
        Decimal("1.20"), Decimal("-0.001"), Decimal("1E+3"), Decimal(0),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_comes_back(value: Any) -> None:
    assert value_of("SELECT ?", value) == value
    assert value_of("SELECT $x", x=value) == value


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=repr)
def test_a_float_that_is_not_finite_comes_back(value: float) -> None:
    for given in (value, np.float32(value)):
        assert repr(value_of("SELECT ?", given)) == repr(value)
        assert value_of("SELECT typeof($x)", x=given) == "DOUBLE"
    assert value_of("SELECT 1e300 < ?", value) is (value != float("-inf"))  # NaN is the largest


@pytest.mark.parametrize(
    "value",
    [0.1, 1.0, -2.5, 1e22, [0.5], {"a": 0.5}, 3, 2**40, "a", True, None, Decimal("0.10"),
     date(2020, 1, 2), timedelta(days=2, hours=1), datetime(2020, 1, 2)],
    ids=repr,
)  # fmt: skip
def test_a_value_has_the_type_that_a_prepared_one_has(value: Any) -> None:
    for sql in ("SELECT typeof($x)", "SELECT [$x]::VARCHAR", "SELECT $x IS NULL OR $x = $x"):
        assert value_of(sql, x=value) == duckdb.execute(sql, {"x": value}).fetchall()[0][0]
    if isinstance(value, float):
        sql = "SELECT $x + 0.2, typeof($x * 2)"
        assert value_of(sql, x=value) == duckdb.execute(sql, {"x": value}).fetchall()[0][0]


@pytest.mark.parametrize(
    "value", [{}, {1: 2}, np.timedelta64(5, "M"), np.timedelta64(5001, "ns")], ids=repr
)
def test_what_has_no_type_is_refused(value: Any) -> None:
    with pytest.raises(BindError, match="a parameter may be"):
        parse("SELECT ?", (value,))


def test_a_time_zone_stays() -> None:
    at = datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert "TIMESTAMPTZ" in parse("SELECT ?", (at,)).query.sql("duckdb")
    sql = "SELECT epoch(?)"
    assert value_of(sql, at) == at.timestamp()
    assert value_of(sql, at.astimezone(UTC)) == at.timestamp()
    assert value_of("SELECT ?", time(1, tzinfo=UTC)) == time(1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(-7), -7), (np.bool_(True), True),
        (np.str_("a"), "a"), (np.array([1, 2]), [1, 2]),
        (np.datetime64("2020-01-02"), date(2020, 1, 2)),
        (np.datetime64("2020-01-02T03", "ns"), datetime(2020, 1, 2, 3)),
        (np.timedelta64(90, "s"), timedelta(seconds=90)), (np.datetime64("NaT"), None),
        (np.array(["2020-01-02"], "M8[ns]"), [datetime(2020, 1, 2)]),
    ],
    ids=repr,
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(value: Any, expected: Any) -> None:
    assert value_of("SELECT ?", value) == expected


def test_a_parameter_may_be_cast() -> None:
    assert value_of("SELECT ?::INT", "42") == 42
    assert value_of("SELECT ?::INT + ?::INT", "40", -2) == 38
    assert value_of("SELECT $x::VARCHAR", x=5) == "5"
    assert value_of("SELECT $x::VARCHAR || $y::VARCHAR", x=date(2020, 1, 1), y=-1.5) == (
        "2020-01-01-1.5"
    )
    assert value_of("SELECT CAST(? AS DOUBLE)", Decimal("0.1")) == 0.1


@pytest.mark.parametrize(
    "value",
    [2**127, -(2**127), 10**50, 10**400, 10**5000, [1, [10**50]]],
    ids=["2^127", "-2^127", "10^50", "10^400", "10^5000", "in a list"],
)
def test_an_integer_beyond_hugeint_is_refused(value: Any) -> None:
    with pytest.raises(BindError, match="integer parameter is out of range; allowed: "):
        parse("SELECT ?", (value,))


@pytest.mark.parametrize("value", [2**127 - 1, 1 - 2**127, 2**63, 2**64, -(2**63)])
def test_the_largest_integers_are_numbers(value: int) -> None:
    assert value_of("SELECT ?", value) == value
