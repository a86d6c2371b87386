"""One SELECT with what stands in its FROM clause, and who owns a column."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from engine.planner.relations import RELATIONS


@dataclass(slots=True)
class Reference:
    """One of our relations in a FROM clause; `hidden` columns are added by the functions used."""

    name: str  # its own, under which the tail reads it
    alias: str  # lower case
    relation: str
    table: exp.Table
    hidden: list[str] = field(default_factory=list)

    def has(self, column: str) -> bool:
        """Whether the relation or a function gives it this column."""
        return column.lower() in RELATIONS[self.relation].names or column in self.hidden


class Block:
    """A SELECT scope: our references and the derived tables it reads, by alias."""

    def __init__(self, scope: Scope, select: exp.Select, references: list[Reference]) -> None:
        self.scope = scope
        self.select = select
        self.references = {reference.alias: reference for reference in references}
        self.derived = {
            alias.lower(): source
            for alias, (_, source) in scope.selected_sources.items()
            if isinstance(source, Scope) and alias.lower() not in self.references
        }
        self.passed: dict[str, list[str]] = {}  # hidden columns that derived tables pass on

    @property
    def joins(self) -> list[exp.Join]:
        """The joins of the FROM clause."""
        return self.select.args.get("joins") or []

    @property
    def is_inner(self) -> bool:
        """Whether all joins keep exactly the pairs that match."""
        return all(_is_inner(join) for join in self.joins) and not self.select.args.get("laterals")

    def can_filter(self, reference: Reference) -> bool:
        """Whether a predicate of WHERE may be applied before the joins."""
        if reference.table.args.get("sample") or self.select.args.get("sample"):
            return False
        source = self.select.args.get("from_")
        is_first = source is not None and source.this is reference.table
        kept = all(_is_inner(join) or _keeps_left(join) for join in self.joins)
        return self.is_inner or (is_first and kept)

    def conjuncts(self) -> Iterator[exp.Expr]:
        """Yield the parts of WHERE, and of inner joins' ON, that must all hold."""
        where = self.select.args.get("where")
        if where:
            yield from _flatten(where.this)
        for join in self.joins:
            if _is_inner(join) and join.args.get("on"):
                yield from _flatten(join.args["on"])

    def owners(self, column: exp.Column) -> list[Reference]:
        """The references that a column can only belong to: several where USING makes them one."""
        if column.table:
            owner = self.references.get(column.table.lower())
            return [owner] if owner and owner.has(column.name) else []
        merged = self.merged(column.name)
        if merged:
            return [item for item in self.references.values() if item.alias in merged]
        owners = [item for item in self.references.values() if item.has(column.name)]
        return owners if len(owners) == 1 and not self.derived else []

    def alias_of(self, name: str) -> exp.Expr | None:
        """The expression in the SELECT list that is called `name`."""
        for item in self.select.expressions:
            if isinstance(item, exp.Alias) and item.alias.lower() == name.lower():
                return item.this
        return None

    def expand(self, node: exp.Expr) -> exp.Expr:
        """A copy in which names of the SELECT list stand for their expressions."""

        def replace(part: exp.Expr) -> exp.Expr:
            if isinstance(part, exp.Column) and not part.table and not self.owners(part):
                meant = self.alias_of(part.name)
                return exp.paren(meant.copy()) if meant else part
            return part

        return node.copy().transform(replace)

    def merged(self, name: str) -> set[str]:
        """The aliases whose columns of this name USING makes one; none without USING."""
        source = self.select.args.get("from_")
        members = {
            join.alias_or_name.lower()
            for join in self.joins
            if any(column.name.lower() == name.lower() for column in join.args.get("using") or [])
        }
        return {source.alias_or_name.lower(), *members} if members and source else set()


def _is_inner(join: exp.Join) -> bool:
    return not join.method and not join.side and join.kind in ("", "INNER", "CROSS")


def _keeps_left(join: exp.Join) -> bool:
    return not join.method and (join.side == "LEFT" or join.kind in ("SEMI", "ANTI"))


def _flatten(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.And):
        yield from _flatten(node.this)
        yield from _flatten(node.expression)
    elif isinstance(node, exp.Paren):
        yield from _flatten(node.this)
    else:
        yield node
