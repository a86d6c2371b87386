"""Text to a syntax tree."""

from datetime import date, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import BindError, ParseError, QueryError
from engine.planner.parse import parse


@pytest.mark.parametrize(
    ("sql", "positional", "named", "expected"),
    [
        ("SELECT ?", ("o'x",), {}, "SELECT 'o''x'"),
        ("SELECT ?, ?", (1, -2.5), {}, "SELECT 1, -2.5e0"),
        ("SELECT $q,$r", (), {"q": 1, "r": 2}, "SELECT 1, 2"),
        ("SELECT $Q, $q", (), {"q": 1}, "SELECT 1, 1"),
        ("SELECT $s", (), {"s": {"a": 1}}, "SELECT {'a': 1}"),
        ("SELECT $a, $b", (), {"a": None, "b": True}, "SELECT NULL, TRUE"),
        ("SELECT $1, $2, $1", ("x", "y"), {}, "SELECT 'x', 'y', 'x'"),
        ("SELECT $l", (), {"l": ["a", 2]}, "SELECT ['a', 2]"),
        ("SELECT $d", (), {"d": date(2020, 1, 2)}, "SELECT CAST('2020-01-02' AS DATE)"),
        (
            "SELECT ?",
            (datetime(2020, 1, 2, 3),),
            {},
            "SELECT CAST('2020-01-02T03:00:00' AS TIMESTAMP)",
        ),
        ("FROM frames LIMIT $k", (), {"k": 3}, "SELECT * FROM frames LIMIT 3"),
        ("SELECT '?' AS \"$x\"", (), {}, "SELECT '?' AS \"$x\""),
    ],
)
def test_parameters_become_literals(
    sql: str, positional: tuple[Any, ...], named: dict[str, Any], expected: str
) -> None:
    assert parse(sql, positional, named).query.sql("duckdb") == expected


def test_bytes_stay_placeholders() -> None:
    statement = parse("SELECT IMAGE_MATCH(frame, $image) FROM frames", named={"image": b"png"})
    assert statement.images == {"image": b"png"}
    assert "$image" in statement.query.sql("duckdb")


@given(st.text(max_size=30))
def test_a_text_never_leaves_its_literal(text: str) -> None:
    statement = parse("SELECT * FROM frames WHERE picture = ?", (text,))
    literal = statement.query.args["where"].this.expression
    assert literal.this == text
    again = parse(statement.query.sql("duckdb")).query
    assert again.args["where"].this.expression.this == text


@given(st.text(max_size=60))
@example("@0")
@example("$²")
def test_anything_parses_or_is_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        parse(text)
    except QueryError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("sql", "positional", "named", "message", "column"),
    [
        ("SELECT $tt", (), {"t": 1}, "unknown parameter 'tt'; allowed: t; nearest: t", 7),
        ("SELECT ?", (), {}, "no value for parameter ?", 7),
        ("SELECT 1", (2,), {}, "parameter ?1 is given but the statement does not use it", None),
        ("SELECT 1", (), {"x": 2}, "parameter $x is given but the statement does not use it", None),
        ("SELECT ?", (object,), {}, "a parameter may be a text, number", 7),
    ],
)
def test_parameters_that_do_not_fit(
    sql: str,
    positional: tuple[Any, ...],
    named: dict[str, Any],
    message: str,
    column: int | None,
) -> None:
    with pytest.raises(BindError) as caught:
        parse(sql, positional, named)
    assert str(caught.value).startswith(message)
    assert caught.value.position == column


@pytest.mark.parametrize(
    ("sql", "message", "caret"),
    [
        ("SELECT a FROM frames WHERE )", "where is incomplete", 27),
        ("SELECT a\nFROM frames\nWHERE )", "where is incomplete", 6),
        ("SELECT 1; SELECT 2", "expected one statement, got 2", None),
        ("", "expected one statement, got 0", None),
        ("SELEC * FROM frames", "only SELECT is accepted, got SELEC", 0),
        ("UPDATE frames SET a = 1", "only SELECT is accepted, got UPDATE", 0),
        ("SELECT 'a", "cannot read the statement", None),
    ],
)
def test_errors_point_at_their_place(sql: str, message: str, caret: int | None) -> None:
    with pytest.raises(ParseError, match="^" + message.replace("(", r"\(")) as caught:
        parse(sql)
    if caret is not None:
        assert caught.value.caret().splitlines()[1] == " " * caret + "^"


def test_explain_is_a_prefix() -> None:
    assert parse("SELECT 1").explain == "no"
    assert parse(" explain SELECT 1").explain == "plan"
    assert parse("EXPLAIN\nANALYZE SELECT 1").explain == "analyze"
    assert parse("-- why\n/* so */EXPLAIN/**/ANALYZE SELECT 1").explain == "analyze"
    assert parse("/* a */ explain (format json) SELECT 1").form == "json"
    assert parse("SELECT 1 AS explain").explain == "no"


def test_options_stand_behind_the_statement() -> None:
    statement = parse(
        "SELECT 1 FROM frames OPTIONS (fps = 2, exact = false, strategy = $s, budget_seconds=.5);",
        named={"s": "dense"},
    )
    assert statement.options == {
        "fps": 2.0,
        "exact": False,
        "strategy": "dense",
        "budget_seconds": 0.5,
    }
    assert statement.query.sql("duckdb") == "SELECT 1 FROM frames"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("fsp = 3", "unknown option 'fsp'; .*nearest: fps"),
        ("exact = 3", "option exact takes true or false, got 3.0"),
        ("fps = -1", "option fps takes a number above 0, at most 240, got -1.0"),
        ("fps", "expected name = value in OPTIONS"),
        ("refine_frames = 1.5", "option refine_frames takes a count below 2.63, got 1.5"),
        ("budget_frames = 1e300", "option budget_frames takes a count below 2.63, got 1e"),
        ("budget_frames = 9223372036854775808", "takes a count below 2.63"),
        ("budget_frames = 1 2", "an option takes one literal or a parameter"),
        ("budget_seconds = . 5", "an option takes one literal or a parameter"),
        ("budget_seconds = .5.5", r"an option takes a finite number, got .\.5\.5."),
        ("budget_frames = 0x10", "an option takes "),
        ("budget_seconds = 1e999", "an option takes a finite number, got '1e999'"),
        ("budget_frames = - - 1", "an option takes one literal or a parameter"),
        ("budget_frames = + 1", "an option takes one literal or a parameter"),
        ("exact = - true", "an option takes a literal or a parameter"),
        ("exact = false true", "an option takes one literal or a parameter"),
        ("strategy = 'auto' 'dense'", "an option takes one literal or a parameter"),
    ],
)
def test_options_that_do_not_fit(options: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse(f"SELECT 1 FROM frames OPTIONS ({options})")


@pytest.mark.parametrize(("text", "number"), [("1_0", 10), ("2.", 2), ("1e1", 10), (".5e1", 5)])
def test_an_option_is_a_number_as_duckdb_reads_it(text: str, number: float) -> None:
    assert parse(f"SELECT 1 FROM frames OPTIONS (fps = {text})").options == {"fps": number}
    assert duckdb.execute(f"SELECT {text}").fetchone() == (number,)
