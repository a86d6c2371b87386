"""Facts about a statement's inputs: their predicates, and inputs whose keys contain theirs.

Each condition is handed down from where it stands (WHERE, ON, USING) to the inputs that it may thin
out, also into derived tables and CTEs. One that cannot be proved to change no answer goes nowhere:
DuckDB applies all of them anyway.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from engine.planner.block import Body, FromItem, Scope, own_nodes
from engine.planner.bounds import check_planning
from engine.planner.joins import Condition, conjuncts, pairs
from engine.planner.kinds import cannot_fail
from engine.planner.logical import Join, Within
from engine.planner.predicates import KEYS, is_by_row, is_keys, rejects_nulls
from engine.planner.scope import Scopes
from engine.planner.within import within

_CATALOG = ("videos", "gops")
_STOPS = ("limit", "offset", "sample")


@dataclass(slots=True)
class Facts:
    """What is known of the inputs, by their names."""

    predicates: dict[str, list[exp.Expr]] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    spans: list[Within] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # conditions that go nowhere, and why


def gather(scopes: Scopes) -> Facts:
    """Gather the facts of a statement, readers before what they read."""
    for block in scopes.blocks:
        _strengthen(block)
    pusher = _Pusher(scopes)
    for body in reversed(scopes.bodies):
        if body.readers != 1:
            pusher.visit(body)
    relations = {name: source.relation for name, (_, source) in scopes.references.items()}
    # the catalog's own relations first: what is restricted by them then has all of it; last what
    # is asked a question
    pusher.facts.joins.sort(key=lambda join: _order(relations[join.left], relations[join.right]))
    return pusher.facts


def _strengthen(block: Scope) -> None:
    """Treat an outer join as an inner one where WHERE drops the rows without a partner anyway."""
    where = block.select.args.get("where")
    full: set[FromItem] = set()  # sources of which WHERE lets no NULLs through
    for node in conjuncts(where.this) if where else ():
        meant = block.expand(node) if is_by_row(node) else node
        if is_by_row(meant) and rejects_nulls(meant):
            full |= set(owners_of(block, meant))
    for pair in pairs(block.tree):
        left, right = (not full.isdisjoint(side.sources()) for side in (pair.left, pair.right))
        if pair.kind in ("left", "full") and right:
            pair.kind = "inner" if pair.kind == "left" else "right"
        if pair.kind in ("right", "full") and left:
            pair.kind = "inner" if pair.kind == "right" else "left"


def _order(left: str, right: str) -> int:
    if right not in _CATALOG:
        return len(_CATALOG) + 1
    return _CATALOG.index(left) if left in _CATALOG else len(_CATALOG)


@dataclass(slots=True)
class _Pusher:
    scopes: Scopes
    facts: Facts = field(default_factory=Facts)
    done: set[int] = field(default_factory=set)

    def visit(self, body: Body) -> None:
        """Hand down the conditions of a query, then those of the queries that it alone reads."""
        if id(body) in self.done:
            return
        self.done.add(id(body))
        if body.block is not None:
            for condition in body.block.conditions():
                self._hand_down(body.block, condition)
            self.facts.spans += within(body.block)
            for source in body.block.sources.values():
                if source.body is not None and source.body.readers == 1:
                    self.visit(source.body)
        for arm in body.arms:
            self.visit(arm)

    def _hand_down(self, block: Scope, condition: Condition[FromItem]) -> None:
        found = list(self._keys(block, condition.node))
        for keys in found:
            self.push(block, condition, keys)
        meant = block.expand(condition.node)
        if is_by_row(condition.node) and is_by_row(meant):
            self.push(block, condition, meant)
        elif not found:
            self._keep(condition.node, "it is not decided by one row alone")

    def push(self, block: Scope, condition: Condition[FromItem], node: exp.Expr) -> None:
        """Hand a condition to the sources that own all of its columns, where it reaches them."""
        check_planning()
        for source in owners_of(block, node):
            reach = condition.reach(source)
            if reach == "plain" or (reach == "strict" and rejects_nulls(node)):
                self._into(source, node)
            elif reach == "strict":
                self._keep(node, f"an outer join keeps rows without one of {source.alias}")
            else:
                self._keep(node, f"the join or sample around {source.alias} needs all its rows")

    def _keep(self, node: exp.Expr, why: str) -> None:
        """Note why DuckDB alone applies a condition."""
        if not is_keys(node):
            self.facts.kept.append(f"{node.sql('duckdb')}: {why}")

    def _into(self, source: FromItem, node: exp.Expr) -> None:
        if source.body is not None:
            if not demand(source.body, _by_position(source, node)):
                self._keep(node, f"fewer rows in {source.alias} could change others of its rows")
            return
        if not can_take(source, node):
            self._keep(node, "it could fail on rows that something else drops")
            return
        renamed = put_columns(node, lambda c: exp.column(source.base(c.name.lower()) or ""))
        if is_keys(node):
            self._join(source, renamed)
        else:
            self.facts.predicates.setdefault(source.name, []).append(renamed)

    def _join(self, source: FromItem, keys: exp.Expr) -> None:
        column, right, key = keys.expressions
        other = self.scopes.references[right.name][1]
        own_type = _key_type(source, column.name)
        if own_type is None or own_type != _key_type(other, key.name):
            return
        asked = is_asked(source) and other.relation == "frames"
        if other.relation not in _CATALOG and not asked:
            return  # reading frames only pays where a question would be asked
        join = Join(source.name, right.name, column.name, key.name)
        if source.name != right.name and join not in self.facts.joins:
            self.facts.joins.append(join)

    def _keys(self, block: Scope, node: exp.Expr) -> Iterator[exp.Expr]:
        """Yield what a condition says of columns whose values come out of the catalog."""
        if isinstance(node, exp.EQ):
            sides = (node.this, node.expression)
            for left, right in (sides, sides[::-1]):
                if isinstance(left, exp.Column) and isinstance(right, exp.Column):
                    yield from _key(left, origin(block, right))
        elif isinstance(node, exp.In) and isinstance(node.this, exp.Column):
            yield from _key(node.this, self._listed(node))
        elif isinstance(node, exp.Exists):
            yield from self._correlated(block, node)

    def _listed(self, node: exp.In) -> tuple[FromItem, str] | None:
        """The relation out of which all values of `IN (SELECT …)` come."""
        body = self.scopes.found.get(id(node.args.get("query")))
        if body is None or body.block is None or not body.outputs:
            return None
        column = body.outputs[0].node
        return origin(body.block, column) if isinstance(column, exp.Column) else None

    def _correlated(self, block: Scope, node: exp.Exists) -> Iterator[exp.Expr]:
        """What `EXISTS (SELECT … WHERE own = outer)` says of the outer column."""
        body = self.scopes.found.get(id(node.this))
        inner = body.block if body else None
        if inner is None or may_aggregate(inner.select):
            return
        for condition in inner.conditions():
            sides = (condition.node.this, condition.node.expression)
            if not isinstance(condition.node, exp.EQ) or condition.homes != (inner.tree,):
                continue
            for own, outer in (sides, sides[::-1]):
                if not isinstance(own, exp.Column) or not isinstance(outer, exp.Column):
                    continue
                if inner.resolve(own) and inner.is_foreign(outer) and block.resolve(outer):
                    yield from _key(outer, origin(inner, own))


def demand(body: Body, node: exp.Expr) -> bool:
    """Push a condition into a query of which only the rows that meet it are used, if that may be.

    The condition names columns by their position.
    """
    if body.readers != 1:
        return False
    places = [column.name for column in _columns(node)]
    if body.arms and all(_are_of_one_type(body.arms, place) for place in places):
        handed = [demand(arm, node) for arm in body.arms]
        return all(handed)
    if body.block is None or body.outputs is None:
        return False
    values = {place: _value(body, place) for place in places}
    used = [value for value in values.values() if value is not None and is_by_row(value)]
    if len(used) == len(values) and _admits(body.block, used):
        body.demands.append(put_columns(node, lambda column: _in_place(values[column.name])))
        return True
    return False


def _in_place(value: exp.Expr | None) -> exp.Expr:
    assert value is not None
    return value.copy() if isinstance(value, exp.Column) else exp.paren(value.copy())


def _are_of_one_type(arms: tuple[Body, ...], place: str) -> bool:
    """Whether a set operation leaves the values of a column as they are: none becomes another."""
    kinds = set()
    for arm in arms:
        value = _value(arm, place) if arm.block and arm.outputs else None
        found = origin(arm.block, value) if isinstance(value, exp.Column) and arm.block else None
        schema = None if found is None else found[0].schema
        if found is None or schema is None or found[1] not in schema.names:
            return False
        kinds.add(schema.field(found[1]).type)
    return len(kinds) == 1


def _value(body: Body, place: str) -> exp.Expr | None:
    """Return the expression behind a query's column, found by its position or its function."""
    assert body.block is not None
    if place.isdigit():
        return (body.outputs or ())[int(place)].node
    items = body.block.select.expressions
    return next((item for item in items if item.alias_or_name == place), None)


def _admits(block: Scope, used: list[exp.Expr]) -> bool:
    """Whether dropping rows early that have other values in these columns changes no other row."""
    select = block.select
    if any(select.args.get(part) for part in _STOPS):
        return False
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        return False
    if any(item.find(exp.Unnest, exp.Explode) for item in select.expressions):
        return False
    for window in select.find_all(exp.Window):
        if window.find_ancestor(exp.Select) is not select:
            continue
        if select.args.get("windows") or not _are_among(
            block, used, window.args.get("partition_by") or []
        ):
            return False
    group = select.args.get("group")
    if group is None:
        return not may_aggregate(select)
    if any(group.args.get(part) for part in ("all", "rollup", "cube", "grouping_sets", "totals")):
        return False
    return _are_among(block, used, [_meant(select, key) for key in group.expressions])


def _meant(select: exp.Select, key: exp.Expr) -> exp.Expr:
    if isinstance(key, exp.Literal) and key.this.isdigit():
        return select.expressions[int(key.this) - 1].unalias()
    return key


def _are_among(block: Scope, used: list[exp.Expr], keys: list[exp.Expr]) -> bool:
    """Whether all expressions are columns that are among the keys."""
    listed = [key for key in keys if isinstance(key, exp.Column)]
    for node in used:
        owners = block.resolve(node) if isinstance(node, exp.Column) else []
        if not owners or not any(
            key.name.lower() == node.name.lower() and block.resolve(key) == owners for key in listed
        ):
            return False
    return True


def may_aggregate(select: exp.Select) -> bool:
    """Whether a SELECT may make one row of many: an unknown function could be an aggregate."""
    if select.args.get("group") or select.args.get("having"):
        return True
    kinds = (exp.AggFunc, exp.Anonymous, exp.AnonymousAggFunc, exp.CombinedAggFunc, exp.Columns)
    return any(isinstance(node, kinds) for node in own_nodes(select, ("from_", "joins", "where")))


def owners_of(block: Scope, node: exp.Expr) -> list[FromItem]:
    """The sources that own every column of a condition; none where it reads none."""
    found = [block.resolve(column) for column in _columns(node)]
    return [item for item in found[0] if all(item in other for other in found)] if found else []


def can_take(source: FromItem, node: exp.Expr) -> bool:
    """Whether one of our relations can decide a condition on each of its rows, and never fails."""
    names = {column.name.lower() for column in _columns(node)}
    if any(source.base(name) is None for name in names):
        return False
    return is_keys(node) or cannot_fail(node, source.type_of)


def origin(block: Scope, column: exp.Column) -> tuple[FromItem, str] | None:
    """Return the relation's column that contains every value of a column, NULL apart."""
    owners = block.resolve(column)
    if not owners:
        foreign = block.parent is not None and block.is_foreign(column)
        return origin(block.parent, column) if foreign and block.parent else None
    source, name = owners[0], column.name.lower()
    if source.relation:
        base = source.base(name)
        return (source, base) if base else None
    body = source.body
    if body is None or body.block is None or body.outputs is None or name in source.hidden:
        return None
    assert source.columns is not None
    value = body.outputs[source.columns.index(name)].node
    return origin(body.block, value) if isinstance(value, exp.Column) else None


def _key(column: exp.Column, found: tuple[FromItem, str] | None) -> Iterator[exp.Expr]:
    if found is not None:
        names = [exp.Literal.string(found[0].name), exp.Literal.string(found[1])]
        yield exp.Anonymous(this=KEYS, expressions=[column.copy(), *names])


def is_asked(source: FromItem) -> bool:
    """Whether a question is asked of the videos of a relation."""
    return source.relation == "videos" and any(name.startswith("__answer") for name in source.own)


def _key_type(source: FromItem, column: str) -> object:
    """The type of a key that can be looked up as it is; None of others."""
    schema = source.schema
    kind = schema.field(column).type if schema is not None and column in schema.names else None
    return kind if kind is not None and str(kind) in ("int64", "int32", "string") else None


def put_columns(node: exp.Expr, put: Callable[[exp.Column], exp.Expr]) -> exp.Expr:
    """Return a copy of an expression in which every column is replaced."""
    return node.transform(lambda part: put(part) if isinstance(part, exp.Column) else part)


def _by_position(source: FromItem, node: exp.Expr) -> exp.Expr:
    def put(column: exp.Column) -> exp.Expr:
        name = column.name.lower()
        hidden = name in source.hidden
        return exp.column(name if hidden else str((source.columns or ()).index(name)))

    return put_columns(node, put)


def _columns(node: exp.Expr) -> list[exp.Column]:
    return list(node.find_all(exp.Column))
