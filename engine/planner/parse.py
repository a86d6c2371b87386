"""Text to a syntax tree: DuckDB's dialect, with parameters, EXPLAIN, OPTIONS and sequences."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from sqlglot import exp
from sqlglot.errors import ParseError as GrammarError
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import BindError, ParseError, UsageError
from engine.planner.bounds import check_length, check_tokens
from engine.planner.grammar import as_select, tokens_of, trees_of
from engine.planner.letters import BLANK
from engine.planner.parameters import bind_parameters, comma
from engine.planner.place import keep_places
from engine.planner.spatial import expand_spatial
from engine.planner.views import expand_views
from engine.search.options import Options
from engine.storage.vocabulary import Vocabulary

Explain = Literal["no", "plan", "analyze"]
ExplainForm = Literal["text", "json"]
_EXPLAIN = re.compile(
    rf"{BLANK}*explain\b(?P<analyze>{BLANK}+analyze\b)?"
    rf"(?:{BLANK}*\((?P<words>\s*(?:analyze|format)\b[\w\s,]*)\))?",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_BEGINNINGS = (
    TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.L_PAREN, TokenType.VALUES,
    TokenType.PIVOT, TokenType.UNPIVOT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement; `images` holds the bytes of bound parameters, by placeholder."""

    sql: str
    query: exp.Query
    options: Mapping[str, Any] = field(default_factory=dict)
    explain: Explain = "no"
    images: Mapping[str, bytes] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)  # what users have added
    form: ExplainForm = "text"  # of what EXPLAIN gives


def parse(
    sql: str,
    positional: Sequence[Any] = (),
    named: Mapping[str, Any] = {},
    vocabulary: Vocabulary | None = None,
) -> Statement:
    """Parse one SELECT with its parameters bound; anything else is a ParseError with a caret.

    Views of the vocabulary stand for their SELECTs.
    """
    vocabulary = vocabulary or Vocabulary()
    check_length(sql)
    explain, form, text = _split_explain(sql)
    try:
        tokens = tokens_of(text)
        tokens, images = bind_parameters(tokens, sql, positional, named)
        check_tokens(tokens, sql)
        tokens, options = _split_options(tokens, sql)
        trees = trees_of(tokens, sql, text)
    except TokenError as error:
        raise ParseError(f"cannot read the statement: {_first_line(error)}", sql=sql) from error
    except GrammarError as error:
        if tokens and tokens[0].token_type not in _BEGINNINGS:
            raise _not_a_select(tokens, sql) from error
        raise _grammar_error(error, sql) from error
    statements = [tree for tree in trees if tree is not None]
    if len(statements) != 1:
        raise ParseError(f"expected one statement, got {len(statements)}", sql=sql)
    query = as_select(statements[0])
    if not isinstance(query, exp.Query):
        raise _not_a_select(tokens, sql)
    query = expand_views(query, vocabulary.selects, sql)
    query = expand_spatial(query, dict(vocabulary.zones), sql)
    keep_places(query)
    _check_images(query, images, sql)
    return Statement(sql, query, options, explain, images, vocabulary, form)


def _check_images(query: exp.Query, images: Mapping[str, bytes], sql: str) -> None:
    """Refuse bytes anywhere but in IMAGE_MATCH: nothing else reads them."""
    for given in query.find_all(exp.Placeholder, exp.Parameter):
        call = given.parent
        taken = isinstance(call, exp.Anonymous) and call.name.lower() == "image_match"
        if given.name in images and not taken:
            raise BindError("bytes are an image, for IMAGE_MATCH alone", sql=sql)


def _split_explain(sql: str) -> tuple[Explain, ExplainForm, str]:
    found = _EXPLAIN.match(sql)
    if not found:
        return "no", "text", sql
    how: Explain = "analyze" if found["analyze"] else "plan"
    form: ExplainForm = "text"
    for word in (found["words"] or "").split(",") if found["words"] else ():
        match word.lower().split():
            case ["analyze"]:
                how = "analyze"
            case ["format", "json"]:
                form = "json"
            case ["format", "text"]:
                form = "text"
            case _:
                said = f"EXPLAIN has {word.strip()!r}; allowed: ANALYZE, FORMAT JSON, FORMAT TEXT"
                raise ParseError(said, sql=sql, position=found.start("words"))
    # blanks keep every later position true
    return how, form, " " * found.end() + sql[found.end() :]


def _split_options(tokens: list[Token], sql: str) -> tuple[list[Token], dict[str, Any]]:
    """Cut `OPTIONS (name = value, …)` off the end."""
    tokens = tokens[:-1] if tokens and tokens[-1].token_type == TokenType.SEMICOLON else tokens
    starts = [
        index
        for index, token in enumerate(tokens[:-1])
        if token.text.upper() == "OPTIONS" and tokens[index + 1].token_type == TokenType.L_PAREN
    ]
    if not starts or tokens[-1].token_type != TokenType.R_PAREN:
        return tokens, {}
    start = starts[-1]
    inner = [*tokens[start + 2 : -1], comma(tokens[-1])]
    if any(token.token_type == TokenType.R_PAREN for token in inner):
        return tokens, {}
    given, entry = {}, list[Token]()
    for token in inner:
        if token.token_type != TokenType.COMMA:
            entry.append(token)
            continue
        name, value = _option(entry, sql, tokens[start])
        given[name] = value
        entry = []
    try:
        Options().override(given)
    except UsageError as error:
        raise BindError(str(error), sql=sql, position=tokens[start].start) from error
    return tokens[:start], given


def _option(entry: list[Token], sql: str, anchor: Token) -> tuple[str, Any]:
    if len(entry) < 3 or entry[1].token_type not in (TokenType.EQ, TokenType.FARROW):
        place = entry[0] if entry else anchor
        raise ParseError("expected name = value in OPTIONS", sql=sql, position=place.start)
    value, sign, number = entry[-1], "", entry[2:]
    if len(number) > 1 and number[0].token_type == TokenType.DASH:
        sign, number = "-", number[1:]
    point = number[0].token_type == TokenType.DOT and number[0].end + 1 == value.start
    if len(number) > 1 + point:
        said = "an option takes one literal or a parameter"
        raise ParseError(said, sql=sql, position=number[1].start)
    words = {TokenType.TRUE: True, TokenType.FALSE: False, TokenType.STRING: value.text}
    if value.token_type in words and len(entry) == 3:
        return entry[0].text, words[value.token_type]
    if value.token_type == TokenType.NUMBER:
        text = sign + "".join(token.text for token in number)
        if _NUMBER.fullmatch(text) and isfinite(float(text)):
            return entry[0].text, float(text)
        said = f"an option takes a finite number, got {text[:40]!r}"
        raise ParseError(said, sql=sql, position=value.start)
    raise ParseError("an option takes a literal or a parameter", sql=sql, position=value.start)


def _not_a_select(tokens: Sequence[Token], sql: str) -> ParseError:
    given = (tokens[0].text if tokens else "nothing").upper()
    start = tokens[0].start if tokens else 0
    return ParseError(f"only SELECT is accepted, got {given}", sql=sql, position=start)


def _grammar_error(error: GrammarError, sql: str) -> ParseError:
    detail = error.errors[0] if error.errors else {}
    message = str(detail.get("description") or _first_line(error)).rstrip(".")
    # the grammar's own classes say nothing to whoever typed the statement
    message = re.sub(
        r"Required keyword: '(\w+)' missing for <class '.*\.(\w+)'>", r"\2 is incomplete", message
    )
    line, column = detail.get("line"), detail.get("col")
    if line is None or column is None:
        return ParseError(message.lower(), sql=sql)
    start = sum(len(row) + 1 for row in sql.split("\n")[: line - 1])
    position = max(0, start + column - len(str(detail.get("highlight") or " ")))
    return ParseError(message[:1].lower() + message[1:], sql=sql, position=position)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
