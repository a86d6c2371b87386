"""What the stock DuckDB accepts is read as it reads it, letter by letter."""

import re
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot.errors import TokenError

from engine.errors import ParseError
from engine.planner.grammar import tokens_of
from engine.planner.letters import plain_letters
from engine.planner.parse import parse

GIVEN = {"q": 1, "r": "two"}
PIECES = (
    *("1", "'a'", "'it''s $q ?'", "$q", "$r", "$ q", "$Q", "$$a$$", "$$it's $q$$", "$t$ $$b$$ $t$"),
    *("$q$r$q$", "$_1$\n'$_1$", "$é$-- /*$é$", "E'\\'$$'", "e'\\n$q'"),
    *("'a'\n'b'", "\"a$$b\"", "a$b", "x", "-$q", "$q::INT", "{'k':$q}", "[$q,$q]"),
    *("/* $$ */2", "/* a /* b */ '$ */3", "-- $$\n4", "-- '\r5"),
    *("$q+$q", "'\u3000'", "$$\u00a0x$$", "'$'", "'$q$'||$q", "$2$", "$q$", "$", "'", "$$", "a$q$"),
)  # fmt: skip
SPACES = ("", " ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2003", "\ufeff", "/**/", "--\n")
# DuckDB takes a space like U+00A0 that touches a dollar for a letter of a name: an alias "\u00a0$$"
ALIAS = re.compile("[\u00a0\u3000\u2003\ufeff]\\$")
SOURCE = 'FROM (SELECT 7 AS x, 8 AS a$b, 9 AS "a$$b", 10 AS a$q$)'


def answers_of(sql: str, **named: Any) -> list[tuple[Any, ...]] | None:
    try:
        return list(duckdb.execute(sql, named or None).fetchall())
    except duckdb.Error:
        return None


def without_spaces(rows: Any) -> str:
    """Return what rows say with each space a blank.

    DuckDB does not always know what is in a text when it looks for spaces: behind an apostrophe in
    a comment, behind $$ in one and behind a$q$ the text '\u3000' is ' ' to it.
    """
    return re.sub(r"\\(xa0|u3000|u2003|ufeff)", " ", ascii(rows))


@given(
    st.lists(st.tuples(st.sampled_from(SPACES), st.sampled_from(PIECES)), min_size=1, max_size=6),
    st.sampled_from(SPACES),
)
@example([("", "/* a /* b */ '$ */3"), ("", "'\u3000'")], "")
@settings(max_examples=250, deadline=None)
def test_a_text_is_read_as_duckdb_reads_it(pieces: list[tuple[str, str]], between: str) -> None:
    items = ",".join(before + piece + between for before, piece in pieces)
    sql = f"SELECT{between or ' '}{items}\n{SOURCE}"
    for names in ((), ("q",), ("r",), ("q", "r")):
        named = {name: GIVEN[name] for name in names}
        expected = answers_of(sql, **named)
        # DuckDB wants all that it is given, as the engine does
        if expected is not None and not ALIAS.search(sql):
            read = answers_of(parse(sql, named=named).query.sql("duckdb"))
            assert without_spaces(read) == without_spaces(expected)


@pytest.mark.parametrize("text", ["'{}'", "$${}$$", "$q${}$q$", "E'{}'", "/* a */ '{}' -- '"])
@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2003", "\ufeff"])
def test_a_text_keeps_its_spaces(text: str, space: str) -> None:
    sql = f"SELECT {text.format(f'a{space}b')}"
    assert answers_of(parse(sql).query.sql("duckdb")) == [(f"a{space}b",)] == answers_of(sql)


@given(st.text(st.sampled_from("ab$'\"-/*\n\u00a0 \\eE_1é"), max_size=24))
def test_every_character_keeps_its_place(text: str) -> None:
    try:
        plain, said = plain_letters(text)
    except TokenError:
        return
    assert len(plain) == len(text)
    assert [i for i, c in enumerate(plain) if c in "\r\n"] == [
        i for i, c in enumerate(text) if c in "\r\n"
    ]
    for place, inner in said.items():
        assert text[place - 1] == "$"
        assert inner in text[place:]


@pytest.mark.parametrize(
    ("text", "said"),
    [("SELECT $$a", "a text in \\$\\$ has no end"), ("SELECT $q$ $", "has no end"),
     ("SELECT 1 AS a\u2028b", r"the letter U\+2028 is no space; allowed: a blank"),
     ("SELECT 1\x85", r"the letter U\+0085 is no space")],
)  # fmt: skip
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        parse(text)


@pytest.mark.parametrize(
    "sql", ["SELECT (1,)", "SELECT 2, ((1,),)", "SELECT [(f(1, 2),)]", "SELECT ([1, 2],)"]
)
def test_a_row_of_one_is_no_value(sql: str) -> None:
    with pytest.raises(ParseError, match=r"a row of one value is written row\(value\)"):
        parse(sql)


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1 IN (1,)", "VALUES (1,)", "SELECT (1, 2,)", "SELECT abs(1,)", "SELECT [1,], 2,"],
)
def test_a_comma_may_stand_last(sql: str) -> None:
    assert answers_of(parse(sql).query.sql("duckdb")) == answers_of(sql) is not None


def test_comments_stand_in_no_name() -> None:
    assert not any(token.comments for token in tokens_of("SELECT /* a */ 1 -- b\n, 2 /* c */"))
    assert parse("SELECT 1 /* a */ + 2").query.sql("duckdb") == "SELECT 1 + 2"
