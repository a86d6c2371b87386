"""The kind of an expression's values, and whether evaluating it can fail on some row.

A condition that is pushed down meets rows that the statement as a whole may never compare: it must
not fail on them. `seconds > 'v1.mp4'` fails on the first row and on no row of none.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal, TypeAlias

import pyarrow as pa
from sqlglot import exp

from engine.planner.instants import NUMBERS, READ, instant_of, period_of, rising

Kind: TypeAlias = Literal["number", "text", "bool", "time"]
TypeOf: TypeAlias = Callable[[str], pa.DataType | None]  # of a column, by its name

_CHECKS: dict[Kind, Callable[[pa.DataType], bool]] = {
    "number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    "text": pa.types.is_string,
    "bool": pa.types.is_boolean,
    "time": pa.types.is_temporal,
}
_TRUTHS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.And, exp.Or, exp.Not, exp.Is, exp.In,
    exp.Between, exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.StartsWith, exp.EndsWith,
    exp.Contains, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Boolean,
)  # fmt: skip
_NUMBERS = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Length, exp.Abs,
    exp.Round, exp.Floor, exp.Ceil, exp.Sign,
)  # fmt: skip
_TEXTS = (exp.Lower, exp.Upper, exp.Substring, exp.Trim, exp.Concat, exp.DPipe)
_PAIRED = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod,
)  # fmt: skip
_PARTIAL = (exp.Sqrt, exp.Pow)  # fail on numbers outside of their domain
_WIDE = (exp.DType.DOUBLE, exp.DType.INT, exp.DType.BIGINT, exp.DType.INT128)
_REPLY: dict[str, Kind] = {
    "answer": "text", "confidence": "number", "start_seconds": "number", "stop_seconds": "number",
}  # fmt: skip


def cannot_fail(node: exp.Expr, type_of: TypeOf) -> bool:
    """Whether a condition can be evaluated on every possible row, giving NULL at worst."""
    for part in node.walk():
        if isinstance(part, _PARTIAL):
            return False
        if type(part) is exp.Cast and not _can_cast(part, type_of):
            return False
        if isinstance(part, READ) and not _is_of_instant(part, type_of):
            return False
        if type(part) is exp.Mul and not _stays_in_range(part, type_of):
            return False
        if not all(_fit(operands, type_of) for operands in _alike(part)):
            return False
    return True


def _alike(node: exp.Expr) -> Iterator[list[exp.Expr]]:
    """Yield the operands that DuckDB brings to one type."""
    if isinstance(node, _PAIRED):
        yield [node.this, node.expression]
    elif isinstance(node, exp.Between):
        yield [node.this, node.args["low"], node.args["high"]]
    elif isinstance(node, (exp.In, exp.Coalesce, exp.Greatest, exp.Least)):
        yield [node.this, *node.expressions]
    elif isinstance(node, exp.Case):
        branches = node.args["ifs"]
        rest = node.args.get("default")
        yield [*(branch.args["true"] for branch in branches), *([] if rest is None else [rest])]
        if node.this is not None:
            yield [node.this, *(branch.this for branch in branches)]


def _fit(operands: list[exp.Expr], type_of: TypeOf) -> bool:
    texts = [node for node in map(_bare, operands) if _is_text(node)]
    others = [node for node in map(_bare, operands) if not _is_text(node)]
    kinds = {kind for kind in (kind_of(node, type_of) for node in others) if kind is not None}
    if len(kinds) > 1 and kinds != {"number", "bool"}:
        return False
    return all(_reads_as(text.name, kind) for text in texts for kind in kinds)


def _stays_in_range(node: exp.Mul, type_of: TypeOf) -> bool:
    """Whether a product is of floating point: one of whole numbers may overflow."""
    columns = [type_of(column.name.lower()) for column in node.find_all(exp.Column)]
    return not columns or any(kind and pa.types.is_floating(kind) for kind in columns)


def _is_of_instant(node: exp.Expr, type_of: TypeOf) -> bool:
    """Whether a function of an instant is given one: of a text it may fail."""
    known = rising(node) is not None or period_of(node) is not None
    instant = instant_of(node)
    return known and instant is not None and kind_of(instant, type_of) == "time"


def _can_cast(node: exp.Cast, type_of: TypeOf) -> bool:
    given, wanted = _bare(node.this), _kind_of_type(node.to)
    if wanted == "text" or isinstance(given, exp.Null):
        return True
    if wanted is None:
        return False
    if _is_text(given):
        return _reads_as(given.name, wanted)
    if node.to.this == exp.DType.DATE:
        return isinstance(given, exp.Column) and kind_of(given, type_of) == "time"
    return node.to.this in _WIDE and kind_of(given, type_of) in ("number", "bool")


def kind_of(node: exp.Expr, type_of: TypeOf) -> Kind | None:
    """The kind of an expression's values, if that is known."""
    node = _bare(node)
    if isinstance(node, exp.Column):
        column = type_of(node.name.lower())
        return next((k for k, is_kind in _CHECKS.items() if column and is_kind(column)), None)
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Dot):
        return _REPLY.get(node.expression.name.lower())
    if isinstance(node, (exp.Cast, exp.TryCast)):
        return _kind_of_type(node.to)
    if isinstance(node, READ):
        return "number" if isinstance(node, NUMBERS) else "time"
    for kinds, kind in ((_TRUTHS, "bool"), (_TEXTS, "text")):
        if isinstance(node, kinds):
            return kind  # type: ignore[return-value]
    if isinstance(node, _NUMBERS):
        return None if node.find(exp.Interval) else "number"
    for operands in _alike(node):
        found = [kind_of(operand, type_of) for operand in operands]
        return next((kind for kind in found if kind is not None), None)
    return None


def _kind_of_type(kind: exp.DataType) -> Kind | None:
    if kind.this in exp.DataType.TEXT_TYPES:
        return "text"
    if kind.this in exp.DataType.NUMERIC_TYPES:
        return "number"
    if kind.this in exp.DataType.TEMPORAL_TYPES:
        return "time"
    return "bool" if kind.this == exp.DType.BOOLEAN else None


def _reads_as(text: str, kind: Kind) -> bool:
    """Whether a text in quotes certainly is a value of another kind."""
    if kind == "bool":
        return text.lower() in ("true", "false")
    try:
        if kind == "number":
            return text.isdecimal() and text.isascii() and abs(int(text)) < 2**31
        if kind == "time":
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)
