"""Statements with parameters in the place of some of their literals."""

import re
from datetime import datetime
from random import Random
from typing import Any

_LITERAL = re.compile(
    r"'(?P<text>a dog|a cat|a red car)'"
    r"|(?<=[<>=] )TIMESTAMP '(?P<instant>[^']+)'"
    r"|(?:(?<=[<>=] )|(?<=LIMIT ))(?P<number>\d+(?:\.\d+)?)(?![\w%.])"
    r"|(?<=[<>=] )(?P<truth>true|false)\b"
)


def prepared(sql: str, random: Random) -> tuple[str, dict[str, Any]]:
    """Return a statement some of whose literals have become parameters, and their values."""
    given: dict[str, Any] = {}

    def put(found: re.Match[str]) -> str:
        if random.random() < 0.4:
            return found[0]
        name = f"p{len(given)}"
        given[name] = _value(found, random)
        return f"${random.choice((name, name.upper()))}"

    return _LITERAL.sub(put, sql), given


def used_of(sql: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a statement still has."""
    return {name: value for name, value in given.items() if re.search(rf"(?i)\${name}\b", sql)}


def _value(found: re.Match[str], random: Random) -> Any:
    if found["text"]:
        return found["text"]
    if found["instant"]:
        return datetime.fromisoformat(found["instant"])
    if found["truth"]:
        return found["truth"] == "true"
    number = float(found["number"])
    whole = number == int(number) and random.random() < 0.8
    return int(number) if whole else number
