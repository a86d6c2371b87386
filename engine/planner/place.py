"""Where in the user's text an error lies that DuckDB found in the statement we made of it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Self

from sqlglot import exp

from engine.errors import LimitError, QueryError
from engine.planner.relations import FORMS, RELATIONS

_WORD = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+")
_LOOKED_AT = 2  # words from the place on: `CAST('x' AS INT)` may be written `'x'::INT`
_BETWEEN = frozenset({"as", "and", "or", "from", "where", "group", "order", "limit", "select"})
_NAMED = re.compile(
    r'(?:column|table|named|name) "?([\w.]+)"?(?: not found| does not exist|$)', re.IGNORECASE
)


class _Place(dict[str, Any]):
    """Where a node stands in the text: all copies of the node have the same."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


def keep_places(tree: exp.Expr) -> None:
    """Let copies of the nodes share what is known of their places: a plan is copied many times."""
    for node in tree.walk():
        if node._meta is not None:
            node._meta = _Place(node._meta)


def position_of(node: exp.Expr) -> int | None:
    """Return where a node starts in the text it was parsed from, if that is known."""
    starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    return min(starts, default=None)


def in_users_text(error: QueryError, sql: str, added: Iterable[str] = ()) -> QueryError:
    """Return the error with its place in `sql`, where it can be told, and the nearest name.

    `added` are names of columns and views beside the relations' own.
    """
    if isinstance(error, LimitError):
        return error
    message, position = str(error), None
    found = _NAMED.search(message) or re.search(r'"(\w+)"', message)
    if found:
        name = found[1].rsplit(".", 1)[-1]
        message = _with_nearest(message, name, added)
        place = re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE)
        position = place.start() if place else None
    if position is None and error.position is not None:
        position = _same_place(error.sql, error.position, sql)
    return type(error)(message, sql=sql, position=position)


def _with_nearest(message: str, name: str, added: Iterable[str]) -> str:
    """Name what exists and is nearest, in place of DuckDB's guesses among all it knows."""
    known = [column for schema in RELATIONS.values() for column in schema.names]
    near = get_close_matches(name.lower(), {*known, *RELATIONS, *FORMS, *added}, n=1)
    text = re.split(r" (?:Candidate|Did you mean) ", message)[0].rstrip("!")
    text = text[:1].lower() + text[1:]
    return f"{text}; nearest: {near[0]}" if near and near[0] != name.lower() else text


def _same_place(made: str, position: int, sql: str) -> int | None:
    """Find the first word at or after a place in our text that both texts hold as often.

    The how-manieth of its kind it is there tells which one it is here.
    """
    words, places = list(_words(made)), list(_words(sql))
    ours, theirs = (Counter(word for word, _ in texts) for texts in (words, places))
    seen = Counter[str]()
    looked = 0
    for word, start in words:
        seen[word] += 1
        if start < position:
            continue
        if word in _BETWEEN or looked == _LOOKED_AT:
            return None
        if ours[word] == theirs[word]:
            return [at for other, at in places if other == word][seen[word] - 1]
        looked += 1
    return None


def _words(text: str) -> Iterator[tuple[str, int]]:
    """The words of a text with their places; names lose their quotes and capitals."""
    for found in _WORD.finditer(text):
        word = found[0]
        yield (word if word.startswith("'") else word.strip('"').lower()), found.start()
