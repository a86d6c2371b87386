"""What a FROM clause names: one of our relations, a query's rows, or something of DuckDB's own."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from engine.planner.relations import RELATIONS

if TYPE_CHECKING:
    from engine.planner.block import Block


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
    block: "Block | None" = None
    arms: tuple["Body", ...] = ()
    outputs: tuple[Output, ...] | None = None
    hidden: list[str] = field(default_factory=list)  # columns of functions that it passes on
    readers: int = 0
    demands: list[exp.Expr] = field(default_factory=list)  # hold of its FROM's rows that are used


@dataclass(eq=False, slots=True)
class Source:
    """One entry of a FROM clause; columns are None where they are not known."""

    alias: str  # lower case
    identifier: exp.Identifier
    node: exp.Expr
    columns: tuple[str, ...] | None = None  # as the statement calls them, in lower case
    sampled: bool = False
    relation: str = ""
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
        if not self.relation or column not in (self.columns or ()):
            return None
        return RELATIONS[self.relation].names[(self.columns or ()).index(column)]


def is_query(node: exp.Expr) -> bool:
    """Whether a node is a query, in parentheses or not; joined tables in parentheses are none."""
    inner = node
    while isinstance(inner, exp.Subquery):
        inner = inner.this
    return isinstance(inner, (exp.Select, exp.SetOperation))
