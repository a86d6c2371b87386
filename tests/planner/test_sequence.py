"""Sequences of texts become calls."""

import pytest

from engine.errors import ParseError
from engine.planner.parse import parse


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("'a' THEN 'b'", "__STEP('a', NULL, NULL, NULL), __STEP('b', NULL, NULL, NULL)"),
        ("'a' HOLDS FOR 3s", "__STEP('a', 3.0, NULL, NULL)"),
        ("'a' GAP 500 ms", "__STEP('a', NULL, 0.5, NULL)"),
        (
            "('a' AND NOT ('b' OR CLIP_MATCH('c'))) THEN 'd'",
            "__STEP(('a' AND NOT ('b' OR CLIP_MATCH('c'))), NULL, NULL, NULL), "
            "__STEP('d', NULL, NULL, NULL)",
        ),
        (
            "CLIP_MATCH('a') THEN CLIP_MATCH(frame, 'b') WITHIN 1 min HOLDS FOR 2",
            "__STEP(CLIP_MATCH('a'), NULL, NULL, NULL), "
            "__STEP(CLIP_MATCH(frame, 'b'), 2.0, NULL, 60.0)",
        ),
    ],
)
def test_steps_and_durations(written: str, read: str) -> None:
    query = parse(f"SELECT * FROM moments({written})").query
    assert query.sql("duckdb") == f"SELECT * FROM MOMENTS(__SEQUENCE({read}))"


def test_parameters_may_stand_in_a_sequence() -> None:
    query = parse("SELECT * FROM moments($a THEN ?)", ("y",), {"a": "x"}).query
    assert "__STEP('x'" in query.sql("duckdb")
    assert "__STEP('y'" in query.sql("duckdb")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CASE WHEN picture = 'I' THEN 'key' ELSE 'other' END FROM frames",
        "SELECT CASE WHEN CLIP_MATCH(frame, 'a') THEN 1 END FROM frames",
        "SELECT CASE WHEN picture IN ('I') THEN 1 WHEN ('a') THEN 2 END FROM frames",
        "SELECT CASE picture WHEN 'I' THEN CASE WHEN 'a' = 'b' THEN 'c' END END FROM frames",
    ],
)
def test_the_then_of_a_case_is_left_alone(sql: str) -> None:
    assert parse(sql).query.sql("duckdb") == sql


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("'a' THEN", "expected a text, texts in brackets or CLIP_MATCH"),
        ("'a' THEN 'b' WITHIN x", "expected a duration such as 10s, got 'x'"),
        ("'a' HOLDS FOR 'b'", "expected a duration such as 10s, got 'b'"),
        ("'a' THEN 5", "expected a text, texts in brackets or CLIP_MATCH"),
    ],
)
def test_what_does_not_fit_is_pointed_at(written: str, message: str) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        parse(f"SELECT * FROM moments({written})")
    assert caught.value.position is not None
