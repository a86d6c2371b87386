"""Comparisons of columns with constants, evaluated on columns as they lie in memory.

What is not known to mean here exactly what it means in DuckDB is left to DuckDB: `read_condition`
returns None for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlglot import exp, parse_one

Read: TypeAlias = Callable[[str], pa.ChunkedArray]  # a column by its name
Flags: TypeAlias = NDArray[np.bool_]
Comparison: TypeAlias = Callable[[Any, Any], Any]

_COMPARE: dict[type[exp.Expr], Comparison] = {
    exp.LT: np.less,
    exp.LTE: np.less_equal,
    exp.GT: np.greater,
    exp.GTE: np.greater_equal,
    exp.EQ: np.equal,
    exp.NEQ: np.not_equal,
}
_SWAPPED: dict[Comparison, Comparison] = {
    np.less: np.greater,
    np.less_equal: np.greater_equal,
    np.greater: np.less,
    np.greater_equal: np.less_equal,
}
_DIGITS = 15  # so many of a decimal constant make the same double everywhere


@dataclass(frozen=True, slots=True)
class Truth:
    """For each row whether a test is true and whether it is false; where neither, it is unknown."""

    true: Flags
    false: Flags


class RowTest(Protocol):
    """One node of a condition."""

    def evaluate(self, read: Read) -> Truth:
        """Return the truth of each row."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a constant."""

    column: str
    function: Comparison
    value: Any

    def evaluate(self, read: Read) -> Truth:
        """Compare; nothing is known of null."""
        column = read(self.column)
        valid = _valid(column)
        values = (column if valid is None else column.fill_null(0)).to_numpy()
        return _known(np.asarray(self.function(values, self.value), bool), valid)


@dataclass(frozen=True, slots=True)
class InList:
    """A column against several constants."""

    column: str
    values: tuple[Any, ...]

    def evaluate(self, read: Read) -> Truth:
        """Look each value up; null is in no list and not outside of one."""
        column = read(self.column)
        found = pc.is_in(column, value_set=pa.array(self.values, column.type))
        return _known(found.to_numpy().astype(bool), _valid(column))


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a column has no value."""

    column: str

    def evaluate(self, read: Read) -> Truth:
        """Tell it of each row."""
        found = pc.is_null(read(self.column)).to_numpy().astype(bool)
        return Truth(found, ~found)


@dataclass(frozen=True, slots=True)
class Both:
    """Two tests, both of which must be true, or with `either` one of them."""

    left: RowTest
    right: RowTest
    either: bool = False

    def evaluate(self, read: Read) -> Truth:
        """Combine as SQL does, with unknown between true and false."""
        one, other = self.left.evaluate(read), self.right.evaluate(read)
        if self.either:
            return Truth(one.true | other.true, one.false & other.false)
        return Truth(one.true & other.true, one.false | other.false)


@dataclass(frozen=True, slots=True)
class Opposite:
    """What is true where a test is false."""

    test: RowTest

    def evaluate(self, read: Read) -> Truth:
        """Swap the two; unknown remains unknown."""
        found = self.test.evaluate(read)
        return Truth(found.false, found.true)


@dataclass(frozen=True, slots=True)
class RowCondition:
    """What a row must meet."""

    test: RowTest

    def holds(self, read: Read) -> Flags:
        """Return for each row whether it is met; unknown is not."""
        return self.test.evaluate(read).true


def _valid(column: pa.ChunkedArray) -> Flags | None:
    """Return which values of a column there are, None where none is null."""
    return column.is_valid().to_numpy().astype(bool) if column.null_count else None


def _known(found: Flags, valid: Flags | None) -> Truth:
    return Truth(found, ~found) if valid is None else Truth(found & valid, ~found & valid)


@lru_cache(256)
def read_condition(predicate: str, schema: pa.Schema) -> RowCondition | None:
    """Return a predicate over the columns of a schema as a condition, or None."""
    test = _read(parse_one(predicate, dialect="duckdb"), schema)
    return None if test is None else RowCondition(test)


def _read(node: exp.Expr, schema: pa.Schema) -> RowTest | None:
    if isinstance(node, exp.Paren):
        return _read(node.this, schema)
    if isinstance(node, (exp.And, exp.Or)):
        left, right = _read(node.this, schema), _read(node.expression, schema)
        return _both(left, right, either=isinstance(node, exp.Or))
    if isinstance(node, exp.Not):
        test = _read(node.this, schema)
        return None if test is None else Opposite(test)
    if isinstance(node, exp.Between):
        low, high = node.args["low"], node.args["high"]
        if node.args.get("symmetric"):
            return None
        above = _compare(node.this, np.greater_equal, low, schema)
        return _both(above, _compare(node.this, np.less_equal, high, schema))
    if isinstance(node, exp.In):
        return _among(node, schema)
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        tested = _column(node.this, schema)
        return None if tested is None else IsNull(tested)
    for kind, function in _COMPARE.items():
        if type(node) is kind:
            if _column(node.this, schema) is not None:
                return _compare(node.this, function, node.expression, schema)
            swapped = _SWAPPED.get(function, function)
            return _compare(node.expression, swapped, node.this, schema)
    return None


def _both(left: RowTest | None, right: RowTest | None, *, either: bool = False) -> RowTest | None:
    return None if left is None or right is None else Both(left, right, either)


def _compare(
    column: exp.Expr, function: Comparison, constant: exp.Expr, schema: pa.Schema
) -> RowTest | None:
    name = _column(column, schema)
    value = None if name is None else _constant(constant, schema.field(name).type)
    if name is None or value is None:
        return None
    if isinstance(value, str):
        same = InList(name, (value,))
        if function is np.not_equal:
            return Opposite(same)
        return same if function is np.equal else None
    return Compare(name, function, value)


def _among(node: exp.In, schema: pa.Schema) -> RowTest | None:
    name = _column(node.this, schema)
    listed = node.expressions
    if (
        name is None
        or not listed
        or any(node.args.get(key) for key in ("query", "unnest", "field"))
    ):
        return None
    values = [_constant(item, schema.field(name).type) for item in listed]
    known = tuple(value for value in values if value is not None)
    return InList(name, known) if len(known) == len(values) else None


def _column(node: exp.Expr, schema: pa.Schema) -> str | None:
    if not isinstance(node, exp.Column) or node.args.get("db"):
        return None
    name = node.name.lower()
    names = [field.name for field in schema if field.name.lower() == name]
    return names[0] if len(names) == 1 else None


def _constant(node: exp.Expr, kind: pa.DataType) -> Any:
    """Return a constant as a value of a column's type, or None where DuckDB might see another."""
    sign = 1
    if isinstance(node, exp.Neg):
        node, sign = node.this, -1
    if not isinstance(node, exp.Literal):
        return None
    text = str(node.this)
    if node.is_string:
        return text if sign == 1 and pa.types.is_string(kind) else None
    whole = text.isdigit()
    if pa.types.is_integer(kind):
        value = sign * int(text) if whole else None
        return value if value is not None and abs(value) < 2 ** (kind.bit_width - 1) else None
    if pa.types.is_float64(kind) and len(text.replace(".", "")) <= _DIGITS:
        plain = whole or text.replace(".", "", 1).isdigit()
        return sign * float(text) if plain else None
    return None
