"""Plans that are kept: a statement that comes again, word by word, is not planned again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import pyarrow as pa

from engine.operators.base import Operator
from engine.planner.logical import Relational
from engine.planner.parse import Statement

MOST_PLANS: Final = 256
LONGEST: Final = 10_000  # characters of a statement and of its parameters together
_WIDEST: Final = 128  # bits of an integer that may be a literal
_LITERALS = (str, bool, int, float, type(None))


@dataclass(frozen=True, slots=True)
class Planned:
    """A statement with its plan, the rules that fired, the columns that it returns and how."""

    statement: Statement
    plan: Relational
    rules: tuple[str, ...]
    columns: pa.Schema
    operator: Operator  # keeps nothing of a run, so any number may use it at once
    shown: str  # the plan as text
    choice: bool = False  # whether what is dear in it could be computed in another order


@dataclass(slots=True)
class Plans:
    """The plans used last, for any thread; no row of a store enters a plan, so none grows old.

    Orders in which what is dear in one is computed are kept as plans of their own.
    """

    _kept: OrderedDict[Hashable, Planned] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: Hashable | None, make: Callable[[], Planned]) -> Planned:
        """Return the plan of a key, made where it is not kept; without a key always made."""
        if key is None:
            return make()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > MOST_PLANS:
                self._kept.popitem(last=False)
        return made

    def __len__(self) -> int:
        return len(self._kept)


def key_of(
    sql: str, positional: Sequence[Any], named: Mapping[str, Any], *settings: Hashable
) -> Hashable | None:
    """What a plan depends on; None where it is too long, or a parameter is no plain value.

    1, 1.0 and true are equal in Python and three literals in SQL, so types count.
    """
    values = [*positional, *named.values()]
    if not all(type(value) in _LITERALS for value in values):
        return None
    if any(isinstance(value, int) and value.bit_length() > _WIDEST for value in values):
        return None  # which is refused, and may have more digits than Python writes
    written = tuple((type(value), repr(value)) for value in values)
    if len(sql) + sum(len(text) for _, text in written) > LONGEST:
        return None
    return (sql, written, tuple(named), settings)
