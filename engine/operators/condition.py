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

_COMPARE = {
    exp.LT: "less",
    exp.LTE: "less_equal",
    exp.GT: "greater",
    exp.GTE: "greater_equal",
    exp.EQ: "equal",
    exp.NEQ: "not_equal",
}
_SWAPPED = {
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
_DIGITS = 15  # so many of a decimal constant make the same double everywhere


class Test(Protocol):
    """One node of a condition."""

    def evaluate(self, read: Read) -> pa.ChunkedArray:
        """Return true, false or null for each row."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a constant."""

    column: str
    function: str
    value: Any

    def evaluate(self, read: Read) -> pa.ChunkedArray:
        """Compare; null is compared to null."""
        column = read(self.column)
        return pc.call_function(self.function, [column, pa.scalar(self.value, column.type)])


@dataclass(frozen=True, slots=True)
class InList:
    """A column against several constants."""

    column: str
    values: tuple[Any, ...]

    def evaluate(self, read: Read) -> pa.ChunkedArray:
        """Look each value up; null is in no list and not outside of one."""
        column = read(self.column)
        found = pc.is_in(column, value_set=pa.array(self.values, column.type))
        if not column.null_count:
            return found
        return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a column has no value."""

    column: str

    def evaluate(self, read: Read) -> pa.ChunkedArray:
        """Tell it of each row."""
        return pc.is_null(read(self.column))


@dataclass(frozen=True, slots=True)
class Combine:
    """`and_kleene`, `or_kleene` or `invert` of others."""

    function: str
    parts: tuple[Test, ...]

    def evaluate(self, read: Read) -> pa.ChunkedArray:
        """Combine as SQL does, with null for unknown."""
        return pc.call_function(self.function, [part.evaluate(read) for part in self.parts])


@dataclass(frozen=True, slots=True)
class RowCondition:
    """What a row must meet."""

    test: Test

    def holds(self, read: Read) -> NDArray[np.bool_]:
        """Return for each row whether it is met; unknown is not."""
        found = self.test.evaluate(read)
        if found.null_count:
            found = pc.fill_null(found, False)
        return np.asarray(found.to_numpy(), bool)


@lru_cache(256)
def read_condition(predicate: str, schema: pa.Schema) -> RowCondition | None:
    """Return a predicate over the columns of a schema as a condition, or None."""
    test = _read(parse_one(predicate, dialect="duckdb"), schema)
    return None if test is None else RowCondition(test)


def _read(node: exp.Expr, schema: pa.Schema) -> Test | None:
    if isinstance(node, exp.Paren):
        return _read(node.this, schema)
    if isinstance(node, (exp.And, exp.Or)):
        name = "and_kleene" if isinstance(node, exp.And) else "or_kleene"
        return _combine(name, [_read(node.this, schema), _read(node.expression, schema)])
    if isinstance(node, exp.Not):
        return _combine("invert", [_read(node.this, schema)])
    if isinstance(node, exp.Between):
        low, high = node.args["low"], node.args["high"]
        if node.args.get("symmetric"):
            return None
        tests = [
            _compare(node.this, "greater_equal", low, schema),
            _compare(node.this, "less_equal", high, schema),
        ]
        return _combine("and_kleene", tests)
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


def _combine(function: str, parts: list[Test | None]) -> Test | None:
    known = tuple(part for part in parts if part is not None)
    return Combine(function, known) if len(known) == len(parts) else None


def _compare(column: exp.Expr, function: str, constant: exp.Expr, schema: pa.Schema) -> Test | None:
    name = _column(column, schema)
    value = None if name is None else _constant(constant, schema.field(name).type)
    if name is None or value is None:
        return None
    if isinstance(value, str) and function not in ("equal", "not_equal"):
        return None
    return Compare(name, function, value)


def _among(node: exp.In, schema: pa.Schema) -> Test | None:
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
