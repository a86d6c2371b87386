"""Limits on a statement's length, words and nesting, checked before it is parsed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from threading import local
from time import thread_time
from typing import Final

from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import ParseError

MOST_CHARACTERS: Final = 500_000
MOST_TOKENS: Final = 25_000  # such as a list of 12,000 numbers
MOST_NESTED: Final = 32  # brackets within brackets; each is some thirty calls to the parser
PLANNING_SECONDS: Final = 5.0  # of processor time
# what the planner looks at one by one, each against the others
MOST_OF: Final = {
    TokenType.SELECT: 300,
    TokenType.ALIAS: 1000,
    TokenType.OR: 1000,
    TokenType.AND: 1000,
}
_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)


def check_length(sql: str) -> None:
    """Refuse a text that is too long to be split into words."""
    if len(sql) > MOST_CHARACTERS:
        said = f"the statement has {len(sql)} characters; allowed: {MOST_CHARACTERS}"
        raise ParseError(said, sql=sql)


def check_tokens(tokens: Sequence[Token], sql: str) -> None:
    """Refuse what is too large or too deep to be parsed."""
    if len(tokens) > MOST_TOKENS:
        said = f"the statement has {len(tokens)} words and signs; allowed: {MOST_TOKENS}"
        raise ParseError(said, sql=sql)
    counted = Counter(token.token_type for token in tokens)
    for kind, most in MOST_OF.items():
        if counted[kind] > most:
            word = "AS" if kind == TokenType.ALIAS else kind.name
            said = f"the statement has {counted[kind]} times {word}; allowed: {most}"
            raise ParseError(said, sql=sql)
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > MOST_NESTED:
            said = f"brackets are nested deeper than {MOST_NESTED}"
            raise ParseError(said, sql=sql, position=token.start)


_EACH = 64  # times that it is asked the clock is read once: that is a call of the system


class _Planning(local):
    """What this thread plans, and until when."""

    sql = ""
    stop = inf
    asked = 0


_planning = _Planning()


@contextmanager
def planning_bounded(sql: str) -> Iterator[None]:
    """Let `check_planning` refuse a statement whose planning takes too long."""
    _planning.sql, _planning.stop = sql, thread_time() + PLANNING_SECONDS
    _planning.asked = 0
    try:
        yield
    finally:
        _planning.stop = inf


def check_planning() -> None:
    """Refuse the statement that is planned where it takes too long; asked in loops of loops."""
    _planning.asked += 1
    if _planning.asked % _EACH == 1 and thread_time() > _planning.stop:
        said = f"planning the statement takes more than {PLANNING_SECONDS:g} s; make it shorter"
        raise ParseError(said, sql=_planning.sql)


@contextmanager
def nesting_bounded(sql: str) -> Iterator[None]:
    """Refuse nesting without brackets (NOT NOT …, CASE in CASE) that is too deep for the parser."""
    try:
        yield
    except RecursionError as error:
        raise ParseError("the statement is nested too deeply", sql=sql) from error
