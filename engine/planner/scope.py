"""Every SELECT of a statement with its sources, CTEs and queries inside queries included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from engine.planner.block import Body, FromItem, Output, Scope, is_query, joined_to
from engine.planner.joins import Leaf, Pair, Tree, kind_of, pairs
from engine.planner.relations import RELATIONS, Columns, schema_of
from engine.planner.texts import lists_texts
from engine.planner.views import OWN
from schemas.tables import MOMENTS_OF_TEXTS

_JOINING = ("kind", "side", "method", "on", "using", "pivots")  # what a comma has not
_TAIL = ("order", "limit", "offset", "sample", "pivots")


@dataclass(slots=True)
class Scopes:
    """All SELECTs of a statement, outer before inner; `references` are our relations in them."""

    blocks: list[Scope] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    references: dict[str, tuple[Scope, FromItem]] = field(default_factory=dict)
    pivoted: list[FromItem] = field(default_factory=list)  # all columns of these count
    found: dict[int, Body] = field(default_factory=dict)  # by the id of the query's node

    @classmethod
    def of(cls, query: exp.Query, columns: Columns = ()) -> "Scopes":
        """Analyse a statement; `columns` are those that users have added to videos."""
        scopes = cls()
        _Reader(scopes, {}, columns).query(query, {}, None)
        return scopes


Ctes = Mapping[str, Body]


@dataclass(slots=True)
class _Reader:
    scopes: Scopes
    counts: dict[str, int]
    columns: Columns

    def query(self, node: exp.Expr, ctes: Ctes, parent: Scope | None) -> Body:
        """Read one query with its CTEs."""
        ctes = self._ctes(node, ctes, parent)
        body = Body(node)
        self.scopes.bodies.append(body)
        self.scopes.found[id(node)] = body
        if isinstance(node, exp.Subquery):
            inner = self.query(node.this, ctes, parent)
            if not any(node.args.get(part) for part in _TAIL):
                self.scopes.bodies.remove(body)
                self.scopes.found[id(node)] = inner
                return inner
            inner.readers += 2  # nothing goes below a LIMIT
            body.outputs = _plain(inner.outputs)
            self._loose(node, ctes, parent, skip=("this", "joins"))
        elif isinstance(node, exp.SetOperation):
            arms = self._arms(node, ctes, parent)
            body.arms, body.outputs = tuple(arms), _named(arms, node)
        elif isinstance(node, exp.Select):
            self._select(node, body, ctes, parent)
        else:
            self._loose(node, ctes, parent)
        return body

    def _arms(self, node: exp.SetOperation, ctes: Ctes, parent: Scope | None) -> list[Body]:
        """Read a chain of set operations without recursion: hundreds may stand in a row."""
        arms: list[exp.Expr] = []
        chain: exp.Expr = node
        while isinstance(chain, exp.SetOperation) and (chain is node or not _has_own(chain)):
            arms.append(chain.expression)
            self._loose(chain, ctes, parent, skip=("this", "expression"))
            chain = chain.this
        arms.append(chain)
        read = [self.query(arm, ctes, parent) for arm in reversed(arms)]
        for body in read:
            body.readers += 1
        return read

    def _ctes(self, node: exp.Expr, ctes: Ctes, parent: Scope | None) -> Ctes:
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        known = dict(ctes)
        for cte in clause.expressions:
            name = cte.alias.lower()
            if clause.args.get("recursive"):
                known[name] = Body(cte)  # what it reads of itself
            body = self.query(cte.this, known, parent)
            names = _alias_columns(cte)
            if clause.args.get("recursive"):
                body.readers += 1  # nothing may be pushed into a loop
            known[name] = _renamed(body, names) if names else body
        return known

    def _select(self, select: exp.Select, body: Body, ctes: Ctes, parent: Scope | None) -> None:
        block = Scope(select, parent, body=body)
        body.block = block
        self.scopes.blocks.append(block)
        source = select.args.get("from_")
        if source is not None:
            block.tree = self._from(source.this, select.args.get("joins") or [], block, ctes)
        for lateral in select.args.get("laterals") or []:
            right = self._from(lateral, [], block, ctes)
            join = exp.Join(this=lateral)
            block.tree = Pair("other", block.tree, right, join) if block.tree else right
        block.merge()
        body.outputs = _outputs(block)
        self._loose(select, ctes, block, skip=("from_", "joins", "laterals"))
        for pair in pairs(block.tree):
            self._loose(pair.join, ctes, block, skip=("this",))

    def _from(
        self, node: exp.Expr, joins: list[exp.Join], block: Scope, ctes: Ctes
    ) -> Tree[FromItem]:
        """Read one entry of FROM and what is joined to it."""
        tree = self._entry(node, block, ctes)
        before: list[tuple[Tree[FromItem], exp.Join]] = []  # commas join after all else has
        for join in [*(node.args.get("joins") or []), *joins]:
            right = self._from(join.this, [], block, ctes)
            if not any(join.args.get(part) for part in _JOINING):
                before.append((tree, join))
                tree = right
                continue
            kind = "other" if join.args.get("pivots") else kind_of(join)
            tree = Pair(kind, tree, right, join)
        for left, join in reversed(before):
            tree = Pair(kind_of(join), left, tree, join)
        return tree

    def _entry(self, node: exp.Expr, block: Scope, ctes: Ctes) -> Tree[FromItem]:
        if isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Table, exp.Subquery)):
            opaque = node.alias or node.args.get("pivots") or node.args.get("sample")
            if not opaque and not is_query(node):
                return self._from(node.this, [], block, ctes)
        source = self._source(node, block, ctes)
        place = f" {len(block.sources)}"
        known = block.sources.setdefault(source.alias or place, source)
        if known is not source:  # DuckDB refuses it, or will say which is meant
            source.columns = known.columns = None
            block.sources[place] = source
        return Leaf(source, source.sampled)

    def _source(self, node: exp.Expr, block: Scope, ctes: Ctes) -> FromItem:
        inner = node.this if isinstance(node, exp.Lateral) else node
        alias = node.args.get("alias")
        named = alias.this if isinstance(alias, exp.TableAlias) else None
        identifier = named if isinstance(named, exp.Identifier) else exp.to_identifier("")
        closed = bool(node.args.get("pivots") or node.args.get("sample"))
        source = FromItem(identifier.name.lower(), identifier, node, sampled=closed)
        if isinstance(inner, exp.Table) and isinstance(inner.this, (exp.Identifier, exp.Anonymous)):
            self._table(inner, source, block, ctes)
        elif is_query(inner):
            source.body = self.query(inner, ctes, block)
            source.body.readers += 1
        else:
            self._loose(node, ctes, block)
        for pivot in node.args.get("pivots") or []:
            self.scopes.pivoted.append(source)
            self._loose(pivot, ctes, block)
        source.columns = _columns(source, _alias_columns(node))
        return source

    def _table(self, table: exp.Table, source: FromItem, block: Scope, ctes: Ctes) -> None:
        name = table.name.lower() or table.this.name.lower()
        if not source.alias:
            source.alias, source.identifier = name, exp.to_identifier(name)
        if isinstance(table.this, exp.Identifier) and name in ctes and not table.meta.get(OWN):
            source.body = ctes[name]
            source.body.readers += 1
        elif name in RELATIONS:
            self.counts[name] = self.counts.get(name, 0) + 1
            source.relation, source.name = name, f"{name}_{self.counts[name]}"
            source.schema = schema_of(name, self.columns)
            if name == "moments" and lists_texts(table):
                source.schema = MOMENTS_OF_TEXTS
            self.scopes.references[source.name] = (block, source)
        else:
            self._loose(table, ctes, block)

    def _loose(
        self, node: exp.Expr, ctes: Ctes, parent: Scope | None, skip: tuple[str, ...] = ()
    ) -> None:
        """Read the queries inside an expression."""
        waiting = [child for key, child in _children(node) if key not in skip]
        while waiting:
            part = waiting.pop()
            if is_query(part):
                self.query(part, ctes, parent)
                waiting += joined_to(part)
            elif isinstance(part, exp.Table) and parent is not None:
                self.scopes.pivoted.append(self._source(part, parent, ctes))
            else:
                waiting += [child for _, child in _children(part)]


def _children(node: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    for key, value in node.args.items():
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, exp.Expr) and key != "with_":
                yield key, child


def _has_own(chain: exp.SetOperation) -> bool:
    return any(chain.args.get(part) for part in ("with_", *_TAIL))


def _plain(outputs: tuple[Output, ...] | None) -> tuple[Output, ...] | None:
    return None if outputs is None else tuple(Output(output.name) for output in outputs)


def _alias_columns(node: exp.Expr) -> list[str]:
    alias = node.args.get("alias")
    columns = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
    return [column.name.lower() for column in columns or []]


def _columns(source: FromItem, names: list[str]) -> tuple[str, ...] | None:
    """The names by which a statement reads a source."""
    known: list[str] | None = None
    if source.node.args.get("pivots"):
        return None
    if source.schema is not None:
        known = list(source.schema.names)
    elif source.body is not None and source.body.outputs is not None:
        known = [output.name for output in source.body.outputs]
    elif source.body is None and names:
        return tuple(names) if isinstance(source.node, (exp.Values, exp.Unnest)) else None
    if known is None or len(set(known)) < len(known):
        return None
    return tuple(names + known[len(names) :])


def _renamed(body: Body, names: list[str]) -> Body:
    """A CTE as it is called by `name(column, …)`."""
    if body.outputs is not None:
        outputs = list(body.outputs)
        outputs[: len(names)] = [
            replace(output, name=name) for output, name in zip(outputs, names, strict=False)
        ]
        body.outputs = tuple(outputs)
    return body


def _named(arms: list[Body], node: exp.SetOperation) -> tuple[Output, ...] | None:
    if any(chain.args.get("by_name") for chain in node.find_all(exp.SetOperation)):
        return None
    return _plain(arms[0].outputs)


def _outputs(block: Scope) -> tuple[Output, ...] | None:
    """The columns of a SELECT with their expressions."""
    found: list[Output] = []
    for item in block.select.expressions:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            table = item.table.lower() if isinstance(item, exp.Column) else ""
            columns = _star(block, table, star)
            if columns is None:
                return None
            found += columns
        elif (
            item.find(exp.Star, exp.Columns) and not isinstance(item.unalias(), exp.Count)
        ) or item.find(exp.Unnest, exp.Explode):
            return None
        elif isinstance(item, exp.Alias):
            found.append(Output(item.alias.lower(), item.this))
        else:
            found.append(Output(item.output_name.lower(), item))
    return tuple(found)


def _star(block: Scope, table: str, star: exp.Star) -> list[Output] | None:
    """What a star stands for."""
    if star.args.get("rename") or (table and table not in block.sources):
        return None
    sources = [block.sources[table]] if table else block.shown
    if any(source.columns is None for source in sources) or (block.vague and not table):
        return None
    left_out = {node.name.lower() for node in star.args.get("except_") or []}
    put = {node.alias.lower(): node.this for node in star.args.get("replace") or []}
    found: list[Output] = []
    for source in sources:
        for name in source.columns or ():
            first = block.merged.get(name, [source])[0]
            if name in left_out or (not table and first is not source):
                continue
            found.append(Output(name, put.get(name, source.column(name))))
    return found
