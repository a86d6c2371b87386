"""Values of `?` and `$name` as literals, put in their place after the text has been read."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import BindError, unknown
from engine.planner.sequence import made_token

_DIALECT = DuckDB()
_DECIMAL: Final = 38  # digits
_LARGEST: Final = 2**127 - 1  # of HUGEINT
_TIGHTER = (TokenType.DCOLON, TokenType.DSTAR, TokenType.CARET, TokenType.DOT)


def bind_parameters(
    tokens: Sequence[Token], sql: str, positional: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Token], dict[str, bytes]]:
    """Put literals where parameters stand; bytes stay placeholders for IMAGE_MATCH."""
    bound: list[Token] = []
    images: dict[str, bytes] = {}
    used: set[str] = set()
    count = 0
    feed = iter(pairwise([*tokens, None]))
    for token, after in feed:
        assert token is not None
        cast = token.token_type == TokenType.QDCOLON  # `?::` is one word
        if cast or token.token_type == TokenType.PLACEHOLDER:
            count += 1
            name = f"?{count}"
        elif token.token_type == TokenType.PARAMETER:
            (named_by, after) = next(feed, (token, None))
            name = named_by.text if named_by is not None else ""
        else:
            bound.append(token)
            continue
        if name not in named:  # as DuckDB, which tells no capitals apart
            name = next((each for each in named if each.lower() == name.lower()), name)
        value = _look_up(name, sql, token, positional, named)
        used.add(name)
        if isinstance(value, (bytes, bytearray, memoryview)):
            images[name.lstrip("?")] = bytes(value)
            bound += [
                made_token(TokenType.PARAMETER, "$", token),
                made_token(TokenType.VAR, name.lstrip("?"), token),
            ]
        else:
            words = _literal(value, token, sql)
            tight = cast or (after is not None and after.token_type in _TIGHTER)
            bound += _in_brackets(words, token) if tight and len(words) > 1 else words
        bound += [made_token(TokenType.DCOLON, "::", token)] if cast else []
    spare = [f"${name}" for name in named if name not in used]
    spare += [f"?{n + 1}" for n in range(len(positional)) if not _is_used(n + 1, used)]
    if spare:
        raise BindError(f"parameter {spare[0]} is given but the statement does not use it", sql=sql)
    return bound, images


def _is_used(number: int, used: set[str]) -> bool:
    return f"?{number}" in used or str(number) in used


def _look_up(
    name: str, sql: str, token: Token, positional: Sequence[Any], named: Mapping[str, Any]
) -> Any:
    number = name.lstrip("?")
    if number.isdecimal() and 1 <= int(number) <= len(positional):
        return positional[int(number) - 1]
    if name in named:
        return named[name]
    shown = "?" if name.startswith("?") else f"${name}"
    near = unknown("parameter", name, named) if named and not number.isdecimal() else ""
    raise BindError(near or f"no value for parameter {shown}", sql=sql, position=token.start)


def _literal(value: Any, anchor: Token, sql: str) -> list[Token]:
    """Write a value as the words of a literal."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        value = _instant(value)
    elif isinstance(value, np.ndarray):
        value = list(value) if value.dtype.kind in "mM" else value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return _listed([_literal(item, anchor, sql) for item in value], anchor)
    if isinstance(value, dict) and value and all(isinstance(name, str) for name in value):
        return _struct({name: _literal(item, anchor, sql) for name, item in value.items()}, anchor)
    if value is None:
        return [made_token(TokenType.NULL, "NULL", anchor)]
    if isinstance(value, bool):
        return [
            made_token(TokenType.TRUE if value else TokenType.FALSE, str(value).upper(), anchor)
        ]
    if isinstance(value, str):
        return [made_token(TokenType.STRING, value, anchor)]
    if isinstance(value, int) and abs(value) > _LARGEST:
        said = "an integer parameter is out of range; allowed: -2^127 + 1 to 2^127 - 1, as HUGEINT"
        raise BindError(said, sql=sql, position=anchor.start)
    if isinstance(value, float) and not isfinite(value):
        return _cast(str(value), "DOUBLE", anchor)
    if isinstance(value, (int, float)):
        text = repr(abs(value))
        if isinstance(value, float) and "e" not in text:
            text += "e0"  # a DOUBLE: 0.1 would be a DECIMAL
        number = made_token(TokenType.NUMBER, text, anchor)
        below = repr(value).startswith("-")  # as -0.0 is too
        return [made_token(TokenType.DASH, "-", anchor), number] if below else [number]
    typed = _typed(value)
    if typed is None:
        raise BindError(
            "a parameter may be a text, number, boolean, date, time, duration, UUID, list, dict"
            f" with names, bytes or None, got {value!r}",
            sql=sql,
            position=anchor.start,
        )
    return _cast(*typed, anchor)


def _typed(value: Any) -> tuple[str, str] | None:
    """A value's text and the type that reads it."""
    match value:
        case datetime():
            return value.isoformat(), "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
        case date():
            return value.isoformat(), "DATE"
        case time():
            return value.isoformat(), "TIME" if value.tzinfo is None else "TIMETZ"
        case timedelta():
            micros = (value - timedelta(value.days)) // timedelta(microseconds=1)
            return f"{value.days} days {micros} microseconds", "INTERVAL"
        case np.datetime64():
            return str(value), "TIMESTAMP_NS"
        case UUID():
            return str(value), "UUID"
        case Decimal() if value.is_finite():
            _, digits, exponent = value.as_tuple()
            scale = max(0, -int(exponent))
            width = max(len(digits) + max(0, int(exponent)), scale, 1)
            return (f"{value:f}", f"DECIMAL({width}, {scale})") if width <= _DECIMAL else None
    return None


def _instant(value: np.datetime64 | np.timedelta64) -> Any:
    """Return a time of numpy as one of Python, but where that would leave nanoseconds out."""
    if np.isnat(value):
        return None
    unit = np.datetime_data(value.dtype)[0]
    if isinstance(value, np.timedelta64) and unit in ("Y", "M"):
        return value  # of which Python has none
    if unit not in ("ns", "ps", "fs", "as"):
        return value.item()
    coarse = value.astype(value.dtype.str.replace(unit, "us"))
    return coarse.item() if coarse == value else value


def _struct(items: dict[str, list[Token]], anchor: Token) -> list[Token]:
    inner: list[Token] = []
    for name, words in items.items():
        inner += [comma(anchor)] if inner else []
        named = made_token(TokenType.STRING, name, anchor)
        inner += [named, made_token(TokenType.COLON, ":", anchor), *words]
    opening = made_token(TokenType.L_BRACE, "{", anchor)
    return [opening, *inner, made_token(TokenType.R_BRACE, "}", anchor)]


def _listed(items: list[list[Token]], anchor: Token) -> list[Token]:
    inner = [token for item in items for token in (*item, comma(anchor))]
    opening = made_token(TokenType.L_BRACKET, "[", anchor)
    return [opening, *inner[:-1], made_token(TokenType.R_BRACKET, "]", anchor)]


def _in_brackets(words: list[Token], anchor: Token) -> list[Token]:
    """A sign binds less than what follows: -1::VARCHAR is -(1::VARCHAR)."""
    return [
        made_token(TokenType.L_PAREN, "(", anchor),
        *words,
        made_token(TokenType.R_PAREN, ")", anchor),
    ]


def _cast(text: str, kind: str, anchor: Token) -> list[Token]:
    words = list(_DIALECT.tokenize(f"::{kind}"))
    tail = [made_token(token.token_type, token.text, anchor) for token in words]
    return [made_token(TokenType.STRING, text, anchor), *tail]


def comma(anchor: Token) -> Token:
    return made_token(TokenType.COMMA, ",", anchor)
