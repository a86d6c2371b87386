"""What predicates read, and how a set of them is split."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlglot import exp

T = TypeVar("T")


def reads(predicate: exp.Expr) -> set[str]:
    """The columns that a predicate reads, in lower case."""
    return {column.name.lower() for column in predicate.find_all(exp.Column)}


def split(items: Sequence[T], test: Callable[[T], bool]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Those for which the test holds, and the others, each in order."""
    return tuple(i for i in items if test(i)), tuple(i for i in items if not test(i))


def quotes(node: exp.Expr) -> str:
    """Say what is wrong with a text in double quotes: there it is a column's name."""
    double = isinstance(node, exp.Column) and bool(node.this.args.get("quoted"))
    return f"; a text stands in single quotes: '{node.name}'" if double else ""
