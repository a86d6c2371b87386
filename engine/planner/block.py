"""One SELECT with what stands in its FROM clause, and who owns a name in it.

Whatever rests on a name rests on what `Scope.resolve` says. It says nothing where a name could mean
something else: where the columns of a source are not known, or several have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from engine.planner.bounds import check_planning
from engine.planner.joins import (
    Condition,
    Tree,
    conjuncts,
    homes_of,
    join_conditions,
    pairs,
)

_LEFT_VALUE = frozenset({"inner", "semi", "anti", "asof", "left", "asof left"})  # of USING's column


_MADE = {
    "__match": pa.float64(), "__action": pa.float64(), "__label": pa.string(),
    "__detect": pa.float64(), "__text": pa.float64(),
    "__judge": pa.bool_(), "__told": pa.string(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """One column of a query's rows; `node` is None where it is no expression over its FROM."""

    name: str  # lower case
    node: exp.Expr | None = None


@dataclass(eq=False, slots=True)
class Body:
    """A query that something reads: one SELECT (`block`), or a set operation over `arms`.

    `outputs` is None where the columns are not known.
    """

    node: exp.Expr
    block: "Scope | None" = None
    arms: tuple["Body", ...] = ()
    outputs: tuple[Output, ...] | None = None
    hidden: list[str] = field(default_factory=list)  # columns of functions that it passes on
    readers: int = 0
    demands: list[exp.Expr] = field(default_factory=list)  # hold of its FROM's rows that are used


@dataclass(eq=False, slots=True)
class FromItem:
    """One entry of a FROM clause; columns are None where they are not known."""

    alias: str  # lower case
    identifier: exp.Identifier
    node: exp.Expr
    columns: tuple[str, ...] | None = None  # as the statement calls them, in lower case
    sampled: bool = False
    relation: str = ""
    schema: pa.Schema | None = None  # of one of our relations
    name: str = ""  # of one of our relations: its own, under which the tail reads it
    body: Body | None = None
    own: list[str] = field(default_factory=list)  # columns of functions over one of our relations

    @property
    def hidden(self) -> list[str]:
        """The columns of functions that stand beside those that the statement knows."""
        return self.body.hidden if self.body else self.own

    def column(self, name: str) -> exp.Column:
        """A column as the statement reads it from here."""
        return exp.column(name, table=self.identifier.copy() if self.alias else None)

    def has(self, column: str) -> bool:
        """Whether the statement, or a function in it, may read this column here."""
        return column in (self.columns or ()) or column in self.hidden

    def base(self, column: str) -> str | None:
        """What one of our relations itself calls a column."""
        if column in self.own:
            return column
        if self.schema is None or column not in (self.columns or ()):
            return None
        return str(self.schema.names[(self.columns or ()).index(column)])

    def type_of(self, column: str) -> pa.DataType | None:
        """The type of a column of one of our relations, where it has one that compares."""
        base = self.base(column)
        if base is None or base in self.own or self.schema is None:
            made = base or ""
            return next((kind for start, kind in _MADE.items() if made.startswith(start)), None)
        return self.schema.field(base).type


@dataclass(eq=False, slots=True)
class Scope:
    """One SELECT; `parent` is the one whose sources it may also name."""

    select: exp.Select
    parent: "Scope | None"
    sources: dict[str, FromItem] = field(default_factory=dict)
    tree: Tree[FromItem] | None = None
    body: Body | None = None
    merged: dict[str, list[FromItem]] = field(default_factory=dict)  # by USING: whose value it is
    vague: set[str] = field(default_factory=set)  # names that USING or NATURAL makes of several

    @property
    def known(self) -> bool:
        """Whether the columns of all sources are known."""
        return all(source.columns is not None for source in self.sources.values())

    def resolve(self, column: exp.Column) -> list[FromItem]:
        """Return the sources of this FROM of which the column is certainly a column.

        Several where an inner join's USING makes one of them; none where that is not certain.
        """
        name, table = column.name.lower(), column.table.lower()
        if column.args.get("db") or isinstance(column.this, exp.Star):
            return []
        if table:
            source = self.sources.get(table)
            return [source] if source and source.has(name) else []
        if name in self.vague:
            return []
        if name in self.merged:
            return self.merged[name]
        owners = [source for source in self.sources.values() if source.has(name)]
        return owners if len(owners) == 1 and self.known else []

    def is_foreign(self, column: exp.Column) -> bool:
        """Whether a column is certainly none of this FROM's."""
        name, table = column.name.lower(), column.table.lower()
        if table:
            return table not in self.sources and (self.known and not self._may_be_struct(table))
        return self.known and not any(source.has(name) for source in self.sources.values())

    def _may_be_struct(self, name: str) -> bool:
        return any(source.has(name) for source in self.sources.values())

    def alias_of(self, name: str) -> exp.Expr | None:
        """The expression of the SELECT list that is called `name`, if just one is."""
        found = [
            item.this
            for item in self.select.expressions
            if isinstance(item, exp.Alias) and item.alias.lower() == name.lower()
        ]
        return found[0] if len(found) == 1 else None

    def expand(self, node: exp.Expr, depth: int = 0) -> exp.Expr:
        """A copy in which names of the SELECT list stand for their expressions.

        A column of FROM comes before a name of the SELECT list, as in DuckDB.
        """

        def put(part: exp.Expr) -> exp.Expr:
            if not isinstance(part, exp.Column) or part.table or not self.is_foreign(part):
                return part
            meant = self.alias_of(part.name)
            if meant is None or depth > 5:
                return part
            return exp.paren(self.expand(meant, depth + 1))

        return node.transform(put)

    def conditions(self) -> Iterator[Condition[FromItem]]:
        """Yield what WHERE, every ON, and whoever reads this query's rows ask of them."""
        if self.tree is None:
            return
        where = self.select.args.get("where")
        for node in conjuncts(where.this) if where else ():
            yield Condition(node, (self.tree,))
        yield from join_conditions(self.tree)
        yield from self.equalities()
        for node in self.body.demands if self.body else ():
            yield Condition(node, (self.tree,))

    def equalities(self) -> Iterator[Condition[FromItem]]:
        """Yield what USING asks, as if it had been written with ON."""
        for pair in pairs(self.tree):
            for name in pair.using:
                left, right = holder(pair.left, name), holder(pair.right, name)
                if left is not None and right is not None:
                    equal = exp.EQ(this=left.column(name), expression=right.column(name))
                    yield Condition(equal, homes_of(pair))

    @property
    def shown(self) -> list[FromItem]:
        """The sources that `*` shows: not those that SEMI and ANTI joins only look at."""
        unseen = {
            source
            for pair in pairs(self.tree)
            if pair.kind in ("semi", "anti")
            for source in pair.right.sources()
        }
        return [source for source in self.sources.values() if source not in unseen]

    def merge(self) -> None:
        """Note which names USING and NATURAL make of several columns, and whose value they have."""
        for pair in reversed(list(pairs(self.tree))):  # inner joins first
            if pair.join.method.upper() == "NATURAL":
                left_names, right_names = _columns(pair.left), _columns(pair.right)
                self.vague |= left_names & right_names if self.known else left_names | right_names
            for name in pair.using:
                left, right = holder(pair.left, name), holder(pair.right, name)
                if left is None or right is None or pair.kind not in _LEFT_VALUE:
                    self.vague.add(name)
                    continue
                group = self.merged.setdefault(name, [left])
                if pair.kind == "inner":
                    group.append(right)


def is_query(node: exp.Expr) -> bool:
    """Whether a node is a query, in parentheses or not; joined tables in parentheses are none."""
    inner = node
    while isinstance(inner, exp.Subquery):
        inner = inner.this
        if isinstance(inner, exp.Subquery) and (inner.alias or inner.args.get("joins")):
            return False
    return isinstance(inner, (exp.Select, exp.SetOperation))


def own_nodes(select: exp.Select, skip: tuple[str, ...] = ()) -> Iterator[exp.Expr]:
    """Yield the nodes of a SELECT in their order, but for some clauses and the queries in it."""
    waiting: list[exp.Expr] = [select]
    while waiting:
        node = waiting.pop()
        if node is not select:
            yield node
        for child in node.iter_expressions(reverse=True):
            if isinstance(child, exp.With) or (node is select and child.arg_key in skip):
                continue
            waiting += reversed(joined_to(child)) if is_query(child) else [child]


def joined_to(query: exp.Expr) -> list[exp.Join]:
    """What stands joined to a query in the same brackets: no part of the query."""
    return (query.args.get("joins") or []) if isinstance(query, exp.Subquery) else []


def holder(tree: Tree[FromItem], name: str) -> FromItem | None:
    """The source of a tree whose value a column has; None where that is not certain."""
    check_planning()
    sources = list(tree.sources())
    if any(source.columns is None for source in sources):
        return None
    holders = [source for source in sources if source.has(name)]
    if len(holders) > 1 and not all(pair.kind in _LEFT_VALUE for pair in pairs(tree)):
        return None
    return holders[0] if holders else None  # USING before has made them one


def _columns(tree: Tree[FromItem]) -> set[str]:
    return {name for source in tree.sources() for name in source.columns or ()}
