"""Statements that are no SELECT: views are made and dropped, relations and results described."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import ParseError, UsageError
from engine.planner.grammar import tokens_of
from engine.planner.letters import BLANK
from engine.planner.relations import RELATIONS

_FIRST = re.compile(rf"{BLANK}*([A-Za-z]+)", re.DOTALL)
_BEGINS = ("CREATE", "DROP", "DESCRIBE", "DESC", "SHOW")


@dataclass(frozen=True, slots=True)
class CreateView:
    """`CREATE [OR REPLACE] VIEW name AS SELECT …`."""

    name: str
    select: str
    replace: bool


@dataclass(frozen=True, slots=True)
class DropView:
    """`DROP VIEW [IF EXISTS] name`."""

    name: str
    if_exists: bool


@dataclass(frozen=True, slots=True)
class Describe:
    """`DESCRIBE name` or `DESCRIBE SELECT …`: the columns of what a SELECT gives."""

    select: str


@dataclass(frozen=True, slots=True)
class Show:
    """`SHOW TABLES` and `SHOW VIEWS`."""

    what: Literal["tables", "views"]


Command: TypeAlias = CreateView | DropView | Describe | Show


def read_command(sql: str) -> Command | None:
    """Return what a statement commands; None where it is to be read as a SELECT."""
    first = _FIRST.match(sql)
    if first and first[1].upper() not in _BEGINS:
        return None
    try:
        tokens = tokens_of(sql)
    except TokenError:
        return None  # a SELECT says what is wrong
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    words = [token.text.upper() for token in tokens]
    if not words or words[0] not in _BEGINS:
        return None
    return _CommandReader(sql, tokens, words).command()


def check_view_name(name: str) -> None:
    """Raise UsageError unless a view may be called so."""
    if name in RELATIONS or name.startswith("__"):
        raise UsageError(f"view {name!r} is the engine's own name; allowed: another")
    if not (name.isascii() and name.isidentifier() and len(name) <= 63):
        raise UsageError(f"view {name[:80]!r}; allowed: up to 63 letters, digits and _")


@dataclass(frozen=True, slots=True)
class _CommandReader:
    sql: str
    tokens: list[Token]
    words: list[str]

    def command(self) -> Command | None:
        match self.words:
            case ["CREATE", "VIEW", _, "AS", *_]:
                return self._create(2, replace=False)
            case ["CREATE", "OR", "REPLACE", "VIEW", _, "AS", *_]:
                return self._create(4, replace=True)
            case ["CREATE", *_]:
                raise self._expected("CREATE [OR REPLACE] VIEW name AS SELECT …", 1)
            case ["DROP", "VIEW", _]:
                return DropView(self._name(2), if_exists=False)
            case ["DROP", "VIEW", "IF", "EXISTS", _]:
                return DropView(self._name(4), if_exists=True)
            case ["DROP", *_]:
                raise self._expected("DROP VIEW [IF EXISTS] name", 1)
            case ["SHOW", "TABLES"]:
                return Show("tables")
            case ["SHOW", "VIEWS"]:
                return Show("views")
            case ["SHOW" | "DESCRIBE" | "DESC"]:
                raise self._expected("a relation, a view or a SELECT", 1)
            case ["SHOW" | "DESCRIBE" | "DESC", _]:
                return Describe(f"FROM {self._rest(1)}")
            case ["DESCRIBE" | "DESC", *_]:
                return Describe(self._rest(1))
        raise self._expected("SHOW TABLES, SHOW VIEWS or SHOW name", 1)

    def _create(self, at: int, *, replace: bool) -> CreateView:
        if len(self.tokens) <= at + 2:
            raise self._expected("a SELECT after AS", at + 2)
        return CreateView(self._name(at), self._rest(at + 2), replace)

    def _name(self, at: int) -> str:
        return self.tokens[at].text.lower()

    def _rest(self, at: int) -> str:
        return self.sql[self.tokens[at].start : self.tokens[-1].end + 1]

    def _expected(self, what: str, at: int) -> ParseError:
        token = self.tokens[min(at, len(self.tokens) - 1)]
        given = token.text if at < len(self.tokens) else "the end"
        return ParseError(f"expected {what}, got {given!r}", sql=self.sql, position=token.start)
