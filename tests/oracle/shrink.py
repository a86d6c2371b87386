"""Makes a statement that fails as small as it can be while it still fails."""

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_DROPPED = ("where", "having", "qualify", "order", "limit", "offset", "distinct", "with_", "group")


def shrink(sql: str, fails: Callable[[str], bool], *, tries: int = 400) -> str:
    """Return the smallest statement found that still fails."""
    best, changed = sql, True
    while changed and tries > 0:
        changed = False
        for smaller in sorted(set(_smaller(best)), key=len):
            tries -= 1
            if tries <= 0:
                break
            if len(smaller) < len(best) and fails(smaller):
                best, changed = smaller, True
                break
    return best


def _smaller(sql: str) -> Iterator[str]:
    """Yield statements with one thing less."""
    try:
        count = len(list(sqlglot.parse_one(sql, dialect="duckdb").walk()))
    except SqlglotError:
        return
    for place in range(count):
        for cut in range(len(_CUTS)):
            tree = sqlglot.parse_one(sql, dialect="duckdb")
            node = next(node for index, node in enumerate(tree.walk()) if index == place)
            if _CUTS[cut](node):
                yield tree.sql("duckdb")


def _drop_clause(node: exp.Expr) -> bool:
    names = [name for name in _DROPPED if node.args.get(name)]
    if isinstance(node, exp.Query) and names:
        node.set(names[0], None)
        return True
    return False


def _drop_last_clause(node: exp.Expr) -> bool:
    names = [name for name in _DROPPED if node.args.get(name)]
    if isinstance(node, exp.Query) and names:
        node.set(names[-1], None)
        return True
    return False


def _drop_first(node: exp.Expr) -> bool:
    """Drop the first of several columns, or of the joins."""
    if isinstance(node, exp.Select) and len(node.expressions) > 1:
        node.set("expressions", node.expressions[1:])
        return True
    return False


def _drop_last(node: exp.Expr) -> bool:
    if isinstance(node, exp.Select) and len(node.expressions) > 1:
        node.set("expressions", node.expressions[:-1])
        return True
    return False


def _drop_join(node: exp.Expr) -> bool:
    if node.args.get("joins"):
        node.set("joins", node.args["joins"][:-1])
        return True
    return False


def _take_left(node: exp.Expr) -> bool:
    """One side of AND, OR or a set operation alone."""
    if isinstance(node, (exp.Connector, exp.SetOperation)) and node.parent is not None:
        node.replace(node.this.copy())
        return True
    return False


def _take_right(node: exp.Expr) -> bool:
    if isinstance(node, (exp.Connector, exp.SetOperation)) and node.parent is not None:
        node.replace(node.expression.copy())
        return True
    return False


def _unwrap(node: exp.Expr) -> bool:
    """What stands in NOT or parentheses."""
    if isinstance(node, (exp.Not, exp.Paren)) and node.parent is not None:
        node.replace(node.this.copy())
        return True
    return False


_CUTS: tuple[Callable[[exp.Expr], bool], ...] = (
    _drop_clause, _drop_last_clause, _drop_first, _drop_last, _drop_join, _take_left, _take_right,
    _unwrap,
)  # fmt: skip
