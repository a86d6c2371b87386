"""The FROM clause as a tree of joins, and the sources that a condition may filter before them.

A condition filters a source early if every row that it removes would have been removed, or have
changed nothing, later. `plain` sources are only ever joined so that their rows are kept or dropped
whole. Rows of a `strict` one may also be replaced by NULLs: there a condition must reject those.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from sqlglot import exp

S = TypeVar("S")  # a source

Reach: TypeAlias = Literal["plain", "strict"]

# by kind of join: how a condition above it reaches the left and the right side (None: it must not)
_BELOW: Final[dict[str, tuple[Reach | None, Reach | None]]] = {
    "inner": ("plain", "plain"),
    "left": ("plain", "strict"),
    "right": ("strict", "plain"),
    "full": ("strict", "strict"),
    "semi": ("plain", None),
    "anti": ("plain", None),
    "asof": ("plain", None),
    "asof left": ("plain", None),
    "other": (None, None),
}
# by kind of join: the sides whose rows its own ON drops, or keeps from matching, and that is all
_DROPS: Final[dict[str, tuple[bool, bool]]] = {
    "inner": (True, True),
    "left": (False, True),
    "right": (True, False),
    "semi": (True, True),
    "anti": (False, True),
}


@dataclass(eq=False, slots=True)
class Leaf(Generic[S]):
    """One source; of a `sampled` one no row may go early."""

    source: S
    sampled: bool = False

    def sources(self) -> Iterator[S]:
        """Yield the source."""
        yield self.source

    def reach(self, source: S) -> Reach | None:
        """Return how a condition above reaches a source."""
        return "plain" if source is self.source and not self.sampled else None


@dataclass(eq=False, slots=True)
class Pair(Generic[S]):
    """Two sides joined."""

    kind: str
    left: "Tree[S]"
    right: "Tree[S]"
    join: exp.Join
    members: frozenset[S] = field(default=frozenset())

    def __post_init__(self) -> None:
        self.members = frozenset(self.left.sources())

    def sources(self) -> Iterator[S]:
        """Yield all sources, from left to right."""
        yield from self.left.sources()
        yield from self.right.sources()

    def reach(self, source: S) -> Reach | None:
        """Return how a condition above reaches a source."""
        side = 0 if source in self.members else 1
        here, inner = _BELOW[self.kind][side], (self.left, self.right)[side].reach(source)
        if here is None or inner is None:
            return None
        return "strict" if "strict" in (here, inner) else "plain"

    @property
    def using(self) -> list[str]:
        """The names that USING makes one."""
        return [name.name.lower() for name in self.join.args.get("using") or []]


Tree: TypeAlias = Leaf[S] | Pair[S]


@dataclass(frozen=True, slots=True)
class Condition(Generic[S]):
    """A condition on joined rows, and the subtrees that it may filter before the join."""

    node: exp.Expr
    homes: tuple[Tree[S], ...]

    def reach(self, source: S) -> Reach | None:
        """Return how it reaches a source."""
        home = next((home for home in self.homes if source in set(home.sources())), None)
        return home.reach(source) if home else None


def kind_of(join: exp.Join) -> str:
    """Name a join by what it does with rows that find no partner."""
    method, side, kind = join.method.upper(), join.side.upper(), join.kind.upper()
    if method == "ASOF" and side in ("", "LEFT"):
        return "asof left" if side else "asof"
    if method not in ("", "NATURAL"):
        return "other"
    if kind in ("SEMI", "ANTI") and not side:
        return kind.lower()
    if kind in ("", "INNER", "CROSS", "OUTER"):
        return {"": "inner", "LEFT": "left", "RIGHT": "right", "FULL": "full"}.get(side, "other")
    return "other"


def pairs(tree: Tree[S] | None) -> Iterator[Pair[S]]:
    """Yield all joins of a tree."""
    if isinstance(tree, Pair):
        yield tree
        yield from pairs(tree.left)
        yield from pairs(tree.right)


def homes_of(pair: Pair[S]) -> tuple[Tree[S], ...]:
    """Return the sides of a join that its own ON may filter before it."""
    sides = zip(_DROPS.get(pair.kind, (False, False)), (pair.left, pair.right), strict=True)
    return tuple(side for drops, side in sides if drops)


def join_conditions(tree: Tree[S] | None) -> Iterator[Condition[S]]:
    """Yield the parts of every ON with the sides that they may thin out."""
    for pair in pairs(tree):
        on = pair.join.args.get("on")
        if on is not None:
            yield from (Condition(node, homes_of(pair)) for node in conjuncts(on))


def conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the parts that must all hold, in their order."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.And):
            waiting += [node.expression, node.this]
        elif isinstance(node, exp.Paren):
            waiting.append(node.this)
        else:
            yield node
