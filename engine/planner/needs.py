"""How many rows of an input suffice for the answer: the best k by a score, or any k."""

from sqlglot import exp

from engine.planner.block import FromItem, Scope, own_nodes
from engine.planner.facts import can_take, is_asked, may_aggregate, owners_of
from engine.planner.joins import pairs
from engine.planner.logical import Need
from engine.planner.predicates import is_by_row
from engine.planner.scope import Scopes

_PLAIN = (exp.Column, exp.Star, exp.Literal, exp.Identifier, exp.Alias, exp.Dot, exp.Null)
_RESHAPING = ("distinct", "group", "having", "qualify", "windows", "laterals", "pivots", "sample")
_MULTIPLY = frozenset({"unnest", "generate_subscripts", "regexp_split_to_table", "flatten"})


def find_needs(scopes: Scopes) -> list[Need]:
    """Find the inputs of which a SELECT with a LIMIT reads no more than some rows."""
    found = (_need(block, scopes) for block in scopes.blocks)
    return [need for need in found if need is not None]


def _need(block: Scope, scopes: Scopes) -> Need | None:
    """The need of one SELECT, if all else is known to keep each row of its input just once."""
    count = row_count(block.select)
    if count is None or not is_closed(block) or not _keeps_shape(block):
        return None
    order = block.select.args.get("order")
    if order is None or count == 0:
        source = next(iter(block.sources.values()), None)
        plain = all(isinstance(node, _PLAIN) for item in block.select.expressions
                    for node in item.walk())  # fmt: skip
        if source is None or not plain or not _keeps_rows(block, source, scopes):
            return None
        return Need(source.name, count)
    found = _ordered_by(block, order)
    if found is None or not _keeps_rows(block, found[0], scopes):
        return None
    return Need(found[0].name, count, found[1], ties=len(order.expressions) > 1)


def row_count(select: exp.Select) -> int | None:
    """How many rows LIMIT and OFFSET let through, where both are plain counts."""
    limit, offset = select.args.get("limit"), select.args.get("offset")
    if not isinstance(limit, exp.Limit) or limit.args.get("limit_options"):
        return None
    counts = []
    for part in (limit, offset):
        value = part.expression if part is not None else exp.Literal.number(0)
        if not isinstance(value, exp.Literal) or value.is_string or not value.this.isdigit():
            return None
        counts.append(int(value.this))
    return sum(counts)


def is_closed(block: Scope) -> bool:
    """Whether a SELECT certainly reads nothing of those around it: it then has one answer."""
    if block.parent is None:
        return True
    if block.select.args.get("with_") or not block.known:
        return False
    for node in own_nodes(block.select):
        if isinstance(node, (exp.Exists, exp.In)) and node.find(exp.Query):
            return False
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            aliased = not node.table and block.alias_of(node.name) is not None
            if not block.resolve(node) and not aliased:
                return False
    return not any(item.find(exp.Query) for item in block.select.expressions)


def _keeps_shape(block: Scope) -> bool:
    """Whether each joined row that passes WHERE becomes one row."""
    select = block.select
    if any(select.args.get(part) for part in _RESHAPING) or may_aggregate(select):
        return False
    return not any(
        isinstance(node, (exp.Window, exp.Unnest, exp.Explode)) or node.name.lower() in _MULTIPLY
        for node in own_nodes(select)
        if isinstance(node, (exp.Window, exp.Func))
    )


def _ordered_by(block: Scope, order: exp.Order) -> tuple[FromItem, str] | None:
    """The score by which rows are ordered first, the largest first."""
    first = order.expressions[0]
    if not isinstance(first, exp.Ordered) or not first.args.get("desc"):
        return None
    key: exp.Expr = first.this
    if isinstance(key, exp.Literal) and key.this.isdigit():
        items = block.select.expressions
        if any(item.find(exp.Star, exp.Columns) for item in items) or int(key.this) > len(items):
            return None
        key = items[int(key.this) - 1].unalias()
    elif isinstance(key, exp.Column) and not key.table:
        key = block.alias_of(key.name) or key  # in ORDER BY a name of the SELECT list comes first
    if not isinstance(key, exp.Column):
        return None
    owners = block.resolve(key)
    scored = len(owners) == 1 and key.name in owners[0].own and key.name.startswith("__match")
    return (owners[0], key.name) if scored else None


def _keeps_rows(block: Scope, source: FromItem, scopes: Scopes) -> bool:
    """Whether the joins keep each row of the input that passes its predicates exactly once.

    So it is where all else that is joined is `videos`, one row to each, and every condition is
    decided on one input alone.
    """
    others = [item for item in block.sources.values() if item is not source]
    if not source.relation or any(item.relation != "videos" for item in others):
        return False
    if any(item.sampled for item in block.sources.values()) or any(map(is_asked, others)):
        return False  # a question comes last, for the videos that all else has left
    if any(pair.kind != "inner" or pair.join.method for pair in pairs(block.tree)):
        return False
    joined = set()
    for condition in block.conditions():
        partner = _partner(block, condition.node, source)
        if partner is not None:
            joined.add(partner)
        elif not _is_decided(block, condition.node, source, scopes):
            return False
    return joined >= set(others)


def _partner(block: Scope, node: exp.Expr, source: FromItem) -> FromItem | None:
    """The `videos` whose key a condition sets equal to the input's."""
    if not isinstance(node, exp.EQ):
        return None
    owners = []
    for side in (node.this, node.expression):
        found = block.resolve(side) if isinstance(side, exp.Column) and side.table else []
        if len(found) != 1 or found[0].base(side.name.lower()) != "video_id":
            return None
        owners.append(found[0])
    rest = [item for item in owners if item is not source]
    return rest[0] if len(rest) == 1 else None


def _is_decided(block: Scope, node: exp.Expr, source: FromItem, scopes: Scopes) -> bool:
    """Whether the inputs' predicates alone say where a condition holds."""
    meant = block.expand(node) if is_by_row(node) else node
    if is_by_row(meant):
        owners = owners_of(block, meant)
        return bool(owners) and all(can_take(owner, meant) for owner in owners)
    return _is_membership(block, node, source, scopes)


def _is_membership(block: Scope, node: exp.Expr, source: FromItem, scopes: Scopes) -> bool:
    """Whether a condition is `key IN (SELECT key FROM relation WHERE …)`, the key the input's."""
    if not isinstance(node, exp.In) or not isinstance(node.this, exp.Column):
        return False
    body = scopes.found.get(id(node.args.get("query")))
    inner = body.block if body else None
    if inner is None or not body or not body.outputs or block.resolve(node.this) != [source]:
        return False
    select = inner.select
    sources = list(inner.sources.values())
    if len(sources) != 1 or sources[0].relation not in ("videos", "gops") or sources[0].sampled:
        return False
    if any(select.args.get(part) for part in ("limit", "offset", "with_", *_RESHAPING[1:])):
        return False
    if may_aggregate(select):
        return False
    column = body.outputs[0].node
    if not isinstance(column, exp.Column) or inner.resolve(column) != sources:
        return False
    if source.base(node.this.name.lower()) != "video_id" or column.name.lower() != "video_id":
        return False
    conditions = [condition.node for condition in inner.conditions()]
    return all(
        is_by_row(meant) and owners_of(inner, meant) == sources and can_take(sources[0], meant)
        for meant in (inner.expand(condition) for condition in conditions)
    )
