"""The handles `frame` and `video_id`: which relation they come from, through derived tables."""

from itertools import pairwise

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from engine.errors import BindError
from engine.planner.block import Block, Reference
from engine.planner.parse import position_of
from engine.planner.relations import RELATIONS

_BOOLEAN = (exp.Where, exp.Having, exp.Qualify, exp.And, exp.Or, exp.Not, exp.Filter)
_CLOSED = ("group", "distinct", "pivots")

# the blocks from the one that uses a handle down to the one that reads the relation, each with the
# alias by which it reads the next
Path = list[tuple[Block, str]]


class Handles:
    """Finds handles and carries the columns of functions up to where they are used."""

    def __init__(self, blocks: list[Block], sql: str) -> None:
        self.blocks = {id(block.scope): block for block in blocks}
        self.sql = sql

    def resolve(self, block: Block, column: exp.Column, wanted: str) -> tuple[Reference, Path]:
        """Find the relation whose handle `column` is, and the way to it."""
        if column.name.lower() != wanted:
            raise self._error(column, f"expected the handle {wanted}, got {column.name!r}")
        scope: Scope | None = block.scope
        while scope is not None:
            found = self._find(self.blocks.get(id(scope)), column.table.lower(), column, wanted)
            if found:
                return found
            scope = scope.parent
        raise self._error(
            column,
            f"{column.sql('duckdb')} is not the handle {wanted} of a relation in FROM: it must "
            "come from one unchanged, not through GROUP BY, DISTINCT or a set operation",
        )

    def column(self, reference: Reference, path: Path, name: str) -> exp.Column:
        """Give a relation the column of a function, and name it where the function is used."""
        if name not in reference.hidden:
            reference.hidden.append(name)
        for (outer, alias), (inner, inner_alias) in pairwise(path):
            passed = outer.passed.setdefault(alias, [])
            if name not in passed:
                passed.append(name)
            if not any(item.alias_or_name == name for item in inner.select.expressions):
                inner.select.append("expressions", exp.column(name, table=inner_alias))
        return exp.column(name, table=exp.to_identifier(path[0][1]))

    def hide(self) -> None:
        """Keep the functions' columns out of every `*`."""
        for block in self.blocks.values():
            for star in list(block.scope.find_all(exp.Star)):
                if isinstance(star.parent, (exp.Select, exp.Columns, exp.Column)):
                    _exclude(star, block)

    def _find(
        self, block: Block | None, alias: str, column: exp.Column, wanted: str
    ) -> tuple[Reference, Path] | None:
        if block is None:
            return None
        found = []
        for name, reference in block.references.items():
            if alias in ("", name) and wanted in RELATIONS[reference.relation].names:
                found.append((reference, [(block, name)]))
        for name, scope in block.derived.items():
            if alias in ("", name):
                inner = self._passes(scope, wanted, column)
                if inner:
                    found.append((inner[0], [(block, name), *inner[1]]))
        if len(found) > 1:
            names = " or ".join(f"{path[0][1]}.{wanted}" for _, path in found)
            raise self._error(column, f"{wanted} is ambiguous; write {names}")
        return found[0] if found else None

    def _passes(
        self, scope: Scope, wanted: str, column: exp.Column
    ) -> tuple[Reference, Path] | None:
        """Find the handle in a derived table that shows it unchanged."""
        block = self.blocks.get(id(scope))
        if block is None or any(block.select.args.get(part) for part in _CLOSED):
            return None
        for item in block.select.expressions:
            if isinstance(item, exp.Star):
                return self._find(block, "", column, wanted)
            if isinstance(item, exp.Column) and item.name.lower() == wanted:
                return self._find(block, item.table.lower(), column, wanted)
            if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                found = self._find(block, item.table.lower(), column, wanted)
                if found:
                    return found
        return None

    def _error(self, node: exp.Expr, message: str) -> BindError:
        return BindError(message, sql=self.sql, position=position_of(node))


def is_predicate(call: exp.Expr) -> bool:
    """Whether a call stands where a truth value is expected."""
    node = call
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    parent = node.parent
    if isinstance(parent, exp.If):
        return parent.this is node
    if isinstance(parent, exp.Join):
        return True
    return isinstance(parent, _BOOLEAN)


def _exclude(star: exp.Star, block: Block) -> None:
    table = star.parent.table.lower() if isinstance(star.parent, exp.Column) else ""
    hidden = []
    for alias, reference in block.references.items():
        hidden += reference.hidden if table in ("", alias) else []
    for alias, names in block.passed.items():
        hidden += names if table in ("", alias) else []
    if hidden:
        known = star.args.get("except_") or []
        star.set("except_", [*known, *(exp.column(name) for name in hidden)])
