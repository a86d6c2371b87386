"""What a SELECT says of its inputs: predicates, joins that restrict, how many rows it needs."""

from dataclasses import dataclass, field

from sqlglot import exp

from engine.planner.block import Block, Reference
from engine.planner.logical import Join, Need

_UNSTABLE = frozenset({"random", "rand", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed"})
_MIXED = (exp.Subquery, exp.Query, exp.AggFunc, exp.Window, exp.Lambda, exp.Comprehension, exp.Star)
_PLAIN = (exp.Column, exp.Star, exp.Literal, exp.Identifier, exp.Alias, exp.Dot, exp.Null)
_RESHAPING = ("distinct", "group", "having", "qualify", "windows", "laterals", "pivots", "sample")


@dataclass(slots=True)
class Facts:
    """Facts about all inputs of a statement, gathered block by block."""

    predicates: dict[str, list[exp.Expr]] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)


def gather(blocks: list[Block]) -> Facts:
    """Gather the facts of all blocks."""
    facts = Facts()
    for block in blocks:
        covered = _predicates(block, blocks, facts)
        _equalities(block, facts)
        need = _need(block, covered)
        if need:
            facts.needs.append(need)
    return facts


def _predicates(block: Block, blocks: list[Block], facts: Facts) -> dict[str, set[int]]:
    """Hand each conjunct to the inputs that can apply it; return which conjuncts each took."""
    taken: dict[str, set[int]] = {name.name: set() for name in block.references.values()}
    for index, conjunct in enumerate(block.conjuncts()):
        inner = _membership(block, blocks, conjunct)
        if inner:
            facts.joins.append(inner)
            taken[inner.left].add(index)
            continue
        meant = block.expand(conjunct)
        for owner in _owners(block, meant):
            if block.can_filter(owner):
                facts.predicates.setdefault(owner.name, []).append(_bare(meant))
                taken[owner.name].add(index)
    return taken


def _owners(block: Block, node: exp.Expr) -> list[Reference]:
    """The references that own every column of a node that can be evaluated row by row."""
    if node.find(*_MIXED):
        return []
    if any(call.name.lower() in _UNSTABLE for call in node.find_all(exp.Anonymous)):
        return []
    if node.find(exp.Rand, exp.Uuid):
        return []
    columns = list(node.find_all(exp.Column))
    owners = [block.owners(column) for column in columns]
    if not owners:
        return []
    return [item for item in owners[0] if all(item in other for other in owners[1:])]


def _bare(node: exp.Expr) -> exp.Expr:
    """The node without table names, as it reads on one input alone."""
    for column in node.find_all(exp.Column):
        column.set("table", None)
    return node


def _membership(block: Block, blocks: list[Block], node: exp.Expr) -> Join | None:
    """`key IN (SELECT other_key FROM relation WHERE …)` as a join that restricts."""
    if not isinstance(node, exp.In) or not isinstance(node.this, exp.Column):
        return None
    query = node.args.get("query")
    select = query.this if isinstance(query, exp.Subquery) else query
    inner = next((item for item in blocks if item.select is select), None)
    owners = block.owners(node.this)
    if inner is None or len(owners) != 1 or not block.can_filter(owners[0]):
        return None
    references = list(inner.references.values())
    projected = inner.select.expressions
    plain = not any(inner.select.args.get(part) for part in (*_RESHAPING[1:], "limit", "offset"))
    if len(references) != 1 or inner.derived or inner.joins or len(projected) != 1 or not plain:
        return None
    column = projected[0]
    if not isinstance(column, exp.Column) or not inner.owners(column):
        return None
    if references[0].relation not in ("videos", "gops"):
        return None
    return Join(owners[0].name, references[0].name, node.this.name.lower(), column.name.lower())


def _equalities(block: Block, facts: Facts) -> None:
    """Inner joins on equal columns, as restrictions by the catalog's relations."""
    if not block.is_inner:
        return
    catalog = [item for item in block.references.values() if item.relation in ("videos", "gops")]
    for right in catalog:
        for left in block.references.values():
            if left is not right and _are_joined(block, left, right):
                facts.joins.append(Join(left.name, right.name, "video_id", "video_id"))


def _are_joined(block: Block, left: Reference, right: Reference) -> bool:
    if {left.alias, right.alias} <= block.merged("video_id"):
        return True
    for node in block.conjuncts():
        sides = [node.this, node.expression] if isinstance(node, exp.EQ) else []
        if all(isinstance(side, exp.Column) and side.name.lower() == "video_id" for side in sides):
            tables = {side.table.lower() for side in sides}
            if tables == {left.alias, right.alias}:
                return True
    return False


def _need(block: Block, taken: dict[str, set[int]]) -> Need | None:
    """How few rows of one input decide the answer, if all else is known to keep each of them."""
    count = _row_count(block.select)
    if count is None or block.derived or any(block.select.args.get(part) for part in _RESHAPING):
        return None
    if any(block.select.find_all(exp.Window, exp.AggFunc, exp.Unnest, exp.Explode)):
        return None
    order = block.select.args.get("order")
    ordered = _ordered_column(block, order) if order else None
    if order and ordered is None:
        return None
    reference = ordered[0] if ordered else next(iter(block.references.values()), None)
    if reference is None or not _keeps_rows(block, reference, taken):
        return None
    if ordered is None and not _is_plain(block):
        return None
    return Need(reference.name, count, ordered[1] if ordered else None)


def _row_count(select: exp.Select) -> int | None:
    limit, offset = select.args.get("limit"), select.args.get("offset")
    counts = []
    for part in (limit, offset):
        if part is None:
            continue
        value = part.args.get("expression") or part.args.get("count")
        if not isinstance(value, exp.Literal) or not value.this.isdigit():
            return None
        counts.append(int(value.this))
    return sum(counts) if limit else None


def _ordered_column(block: Block, order: exp.Order) -> tuple[Reference, str] | None:
    """The score by which rows are ordered, if that is all they are ordered by."""
    if len(order.expressions) != 1 or not order.expressions[0].args.get("desc"):
        return None
    key = order.expressions[0].this
    if isinstance(key, exp.Literal) and key.this.isdigit():
        items = block.select.expressions
        position = int(key.this) - 1
        if any(item.find(exp.Star) for item in items) or position >= len(items):
            return None
        key = items[position].unalias()
    if isinstance(key, exp.Column) and not block.owners(key):
        key = block.alias_of(key.name) or key
    if not isinstance(key, exp.Column):
        return None
    for reference in block.references.values():
        if key.name in reference.hidden and key in _own_columns(reference, key):
            return reference, key.name
    return None


def _own_columns(reference: Reference, key: exp.Column) -> list[exp.Column]:
    return [key] if key.table.lower() == reference.alias else []


def _keeps_rows(block: Block, reference: Reference, taken: dict[str, set[int]]) -> bool:
    """Whether each row of the input that passes its predicates is in the joined result once."""
    others = [item for item in block.references.values() if item is not reference]
    if not block.is_inner or not block.can_filter(reference):
        return False
    if any(item.relation != "videos" for item in others):
        return False
    if not all(_are_joined(block, reference, item) for item in others):
        return False
    done = set().union(*taken.values())
    return all(
        index in done or _is_join_condition(node) for index, node in enumerate(block.conjuncts())
    )


def _is_join_condition(node: exp.Expr) -> bool:
    return isinstance(node, exp.EQ) and all(
        isinstance(side, exp.Column) and side.name.lower() == "video_id"
        for side in (node.this, node.expression)
    )


def _is_plain(block: Block) -> bool:
    parts = [part for item in block.select.expressions for part in item.walk()]
    return all(isinstance(part, _PLAIN) for part in parts)
