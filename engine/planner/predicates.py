"""What predicates read, whether they can be decided row by row, and how a set of them is split."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from sqlglot import exp

from engine.planner.instants import READ

T = TypeVar("T")

KEYS = "__in_keys"  # (column, 'relation', 'key'): the column's value is among another input's keys
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Paren)
_NULL_IN_NULL_OUT = (
    *_ARITHMETIC,
    *READ,
    exp.Var,
    exp.Column,
    exp.Literal,
    exp.Identifier,
    exp.Boolean,
)
_BY_ROW = (
    *_COMPARISONS, *_NULL_IN_NULL_OUT, exp.And, exp.Or, exp.Not, exp.Is, exp.Null, exp.Between,
    exp.In, exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.StartsWith, exp.EndsWith,
    exp.Contains, exp.Lower, exp.Upper, exp.Length, exp.Substring, exp.Trim, exp.Concat, exp.DPipe,
    exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Pow, exp.Sign, exp.Greatest, exp.Least,
    exp.Coalesce, exp.Nullif, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.Interval,
    exp.Var, exp.Dot, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Escape, exp.Tuple, *READ,
)  # fmt: skip


def reads(predicate: exp.Expr) -> set[str]:
    """The columns that a predicate reads, in lower case."""
    return {column.name.lower() for column in predicate.find_all(exp.Column)}


def split(items: Sequence[T], test: Callable[[T], bool]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Those for which the test holds, and the others, each in order."""
    return tuple(i for i in items if test(i)), tuple(i for i in items if not test(i))


def implied(predicate: exp.Expr, unread: Collection[str]) -> exp.Expr | None:
    """What must hold for a predicate to hold that reads none of these columns; None: nothing."""
    if isinstance(predicate, exp.Paren):
        return implied(predicate.this, unread)
    if isinstance(predicate, (exp.And, exp.Or)):
        sides = [implied(side, unread) for side in (predicate.this, predicate.expression)]
        known = [side for side in sides if side is not None]
        if isinstance(predicate, exp.And):
            return exp.and_(*known) if known else None
        return exp.or_(*known) if len(known) == len(sides) else None
    return None if reads(predicate) & set(unread) else predicate.copy()


def is_by_row(node: exp.Expr) -> bool:
    """Whether an expression is known to depend on its row alone, and on nothing that changes."""
    return is_keys(node) or all(isinstance(part, _BY_ROW) for part in node.walk())


def is_keys(node: exp.Expr) -> bool:
    """Whether a condition asks for a value among another input's keys."""
    return isinstance(node, exp.Anonymous) and node.name == KEYS


def rejects_nulls(node: exp.Expr) -> bool:
    """Whether a condition certainly fails where all its columns are NULL."""
    if is_keys(node):
        return True
    if isinstance(node, exp.Paren):
        return rejects_nulls(node.this)
    if isinstance(node, exp.And):
        return rejects_nulls(node.this) or rejects_nulls(node.expression)
    if isinstance(node, exp.Or):
        return rejects_nulls(node.this) and rejects_nulls(node.expression)
    if isinstance(node, _COMPARISONS):
        return _is_null_with_nulls(node.this) or _is_null_with_nulls(node.expression)
    if isinstance(node, (exp.Between, exp.Like, exp.ILike)):
        return _is_null_with_nulls(node.this)
    if isinstance(node, exp.In):
        return bool(node.expressions) and _is_null_with_nulls(node.this)
    return False


def _is_null_with_nulls(node: exp.Expr) -> bool:
    strict = all(isinstance(part, _NULL_IN_NULL_OUT) for part in node.walk())
    return strict and node.find(exp.Column) is not None


def quotes(node: exp.Expr) -> str:
    """Say what is wrong with a text in double quotes: there it is a column's name."""
    double = isinstance(node, exp.Column) and bool(node.this.args.get("quoted"))
    return f"; a text stands in single quotes: '{node.name}'" if double else ""
