"""`PATTERN (A B+ (C | D)*)` of MATCH_RECOGNIZE, as a regular expression over rows.

A row is one character: which DEFINEs hold of it, as the bits of a number. Matching is then RE2's:
one pass with an automaton, in time linear in the rows, whatever the pattern.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FIRST_SIGN: Final = 0x4E00  # of 2 ** MOST_VARIABLES that have no meaning in regular expressions
MOST_VARIABLES: Final = 8
MOST_REPEATS: Final = 1000  # RE2 takes no more
_WORDS = re.compile(r"\s*([A-Za-z_]\w*|\{\s*\d*\s*(?:,\s*\d*\s*)?\}\??|[*+?]\??|[()|]|\S)")
_BRACES = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}(\??)")


class PatternError(ValueError):
    """A pattern that is none; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class RowVariable:
    """One row, of which a variable's DEFINE holds."""

    name: str

    def names(self) -> list[str]:
        """Every variable in it."""
        return [self.name]

    def expression(self, signs: Mapping[str, str]) -> str:
        """The regular expression."""
        return signs[self.name]

    def is_empty(self) -> bool:
        """Whether it may match no row."""
        return False


@dataclass(frozen=True, slots=True)
class Repeated:
    """Something several times over; `suffix` as regular expressions write it."""

    inner: "RowPattern"
    suffix: str
    least: int

    def names(self) -> list[str]:
        """Every variable in it."""
        return self.inner.names()

    def expression(self, signs: Mapping[str, str]) -> str:
        """The regular expression."""
        return f"(?:{self.inner.expression(signs)}){self.suffix}"

    def is_empty(self) -> bool:
        """Whether it may match no row."""
        return self.least == 0 or self.inner.is_empty()


@dataclass(frozen=True, slots=True)
class Joined:
    """Things one after the other (`|` between them: the first that leads to a match)."""

    parts: tuple["RowPattern", ...]
    choice: bool

    def names(self) -> list[str]:
        """Every variable in it."""
        return [name for part in self.parts for name in part.names()]

    def expression(self, signs: Mapping[str, str]) -> str:
        """The regular expression."""
        return ("|" if self.choice else "").join(
            f"(?:{part.expression(signs)})" for part in self.parts
        )

    def is_empty(self) -> bool:
        """Whether it may match no row."""
        empty = [part.is_empty() for part in self.parts]
        return any(empty) if self.choice else all(empty)


RowPattern = RowVariable | Repeated | Joined


def read_pattern(text: str) -> RowPattern:
    """Parse a pattern; raises PatternError."""
    reader = _PatternReader([found[1] for found in _WORDS.finditer(text)])
    pattern = reader.choice()
    if reader.words:
        raise PatternError(f"PATTERN has {reader.words[0]!r} where a variable was expected")
    if pattern.is_empty():
        raise PatternError("PATTERN matches no rows at all too; allowed: one that takes a row")
    return pattern


def elements(pattern: RowPattern) -> tuple[RowPattern, ...]:
    """Return what stands one after the other in a pattern."""
    return pattern.parts if isinstance(pattern, Joined) and not pattern.choice else (pattern,)


def told_by_row(element: RowPattern) -> list[str] | None:
    """Return the variables of an element, the first that holds of a row being its; else None.

    Of `B`, `B+` and `(B | C)*` each row tells which it is; of `(B C)*` it does not.
    """
    inner = element.inner if isinstance(element, Repeated) else element
    if isinstance(inner, RowVariable):
        return [inner.name]
    if isinstance(inner, Joined) and inner.choice:
        names = [part.name for part in inner.parts if isinstance(part, RowVariable)]
        return names if len(names) == len(inner.parts) else None
    return None


def signs_of(names: Sequence[str], defined: Sequence[str]) -> dict[str, str]:
    """Return, for each variable, the class of characters of the rows of which it holds."""
    found = {}
    for name in names:
        bit = 1 << defined.index(name) if name in defined else 0
        numbers = [n for n in range(1 << len(defined)) if not bit or n & bit]
        found[name] = f"[{''.join(chr(FIRST_SIGN + n) for n in numbers)}]"
    return found


@dataclass(slots=True)
class _PatternReader:
    words: list[str] = field(default_factory=list)

    def choice(self) -> RowPattern:
        parts = [self.sequence()]
        while self.words and self.words[0] == "|":
            self.words.pop(0)
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), choice=True)

    def sequence(self) -> RowPattern:
        parts: list[RowPattern] = []
        while self.words and (self.words[0] == "(" or _is_name(self.words[0])):
            parts.append(self.repeated())
        if not parts:
            given = repr(self.words[0]) if self.words else "the end"
            raise PatternError(f"PATTERN has {given} where a variable was expected")
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), choice=False)

    def repeated(self) -> RowPattern:
        word = self.words.pop(0)
        inner: RowPattern
        if word == "(":
            inner = self.choice()
            if not self.words or self.words.pop(0) != ")":
                raise PatternError("PATTERN has a bracket that is not closed")
        else:
            inner = RowVariable(word.upper())
        if not self.words or self.words[0][0] not in "*+?{":
            return inner
        suffix = self.words.pop(0)
        return Repeated(inner, *_quantifier(suffix))


def _quantifier(word: str) -> tuple[str, int]:
    if word[0] != "{":
        return word, int(word[0] == "+")
    found = _BRACES.fullmatch(word)
    least, comma, most, lazy = found.groups() if found else ("", "", "", "")
    if not least and not most:
        raise PatternError(f"PATTERN has {word!r}; allowed: {{n}}, {{n,}}, {{n,m}} and {{,m}}")
    low, high = int(least or 0), int(most) if most else None
    if max(low, high or 0) > MOST_REPEATS or (high is not None and high < max(low, 1)):
        raise PatternError(f"PATTERN has {word!r}; allowed: up to {MOST_REPEATS} times, rising")
    if not comma:
        return f"{{{low}}}{lazy}", low
    return f"{{{low},{'' if high is None else high}}}{lazy}", low


def _is_name(word: str) -> bool:
    return word[0].isalpha() or word[0] == "_"
