"""Recognises a rest of a statement that only chooses, orders and names columns of one input.

Whatever is not known to be that goes to DuckDB: `read_plain` returns None for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from engine.operators.condition import RowCondition, read_condition
from engine.operators.plain import Plain, SortKey
from engine.planner.bounds import check_planning

_PARTS = frozenset({"expressions", "from_", "where", "order", "limit", "offset"})
_MOST_NESTED = 50  # conditions: reading them goes as deep
_SAME_THERE = (  # types that come back from DuckDB as they went in
    *(pa.types.is_int32, pa.types.is_int64, pa.types.is_float32, pa.types.is_float64),
    *(pa.types.is_boolean, pa.types.is_string),
)


class _OtherError(Exception):
    """The rest does more than choose, order and name columns."""


def read_plain(query: exp.Query, schemas: Mapping[str, pa.Schema]) -> Plain | None:
    """Return a statement's rest over inputs with these schemas, or None where it does more."""
    try:
        return _PlainReader.of(query, schemas).read()
    except _OtherError:
        return None


@dataclass(frozen=True, slots=True)
class _PlainReader:
    select: exp.Select
    name: str  # of the input
    alias: str
    schema: pa.Schema

    @classmethod
    def of(cls, query: exp.Query, schemas: Mapping[str, pa.Schema]) -> "_PlainReader":
        if not isinstance(query, exp.Select) or not _has_only(query, _PARTS):
            raise _OtherError
        table = query.args["from_"].this if query.args.get("from_") else None
        if not isinstance(table, exp.Table) or not _has_only(table, {"this", "alias"}):
            raise _OtherError
        alias, given = table.args.get("alias"), table.name
        if alias is not None and not _has_only(alias, {"this"}):
            raise _OtherError
        if given not in schemas or table.alias_or_name in schemas[given].names:
            raise _OtherError
        return cls(query, given, table.alias_or_name, schemas[given])

    def read(self) -> Plain:
        shown = self._shown()
        sources = [name for name, _ in shown]
        names = [one.name.lower() for _, one in shown]
        other = any(one.name != name and one.name in self.schema.names for name, one in shown)
        if other or len(set(names)) < len(names) or len(set(sources)) < len(sources):
            raise _OtherError
        start, count = self._count("offset"), self._count("limit")
        aliases = {one.name: name for name, one in shown}
        order = self.select.args.get("order")
        if order is not None and not _has_only(order, {"expressions"}):
            raise _OtherError
        keys = [] if order is None else [self._key(item, shown) for item in order.expressions]
        return Plain(
            self.name, tuple(shown), self._condition(aliases), tuple(keys), start or 0, count
        )

    def _shown(self) -> list[tuple[str, pa.Field]]:
        found: list[tuple[str, str]] = []
        for item in self.select.expressions:
            if isinstance(item.unalias(), exp.Star) or isinstance(item.unalias().this, exp.Star):
                found += [(name, name) for name in self._starred(item)]
                continue
            check_planning()
            name = self._column(item.unalias())
            found.append((name, item.alias if isinstance(item, exp.Alias) else name))
        if not all(any(same(self.schema.field(n).type) for same in _SAME_THERE) for n, _ in found):
            raise _OtherError
        return [(name, pa.field(shown, self.schema.field(name).type)) for name, shown in found]

    def _starred(self, item: exp.Expr) -> list[str]:
        star = item
        if isinstance(item, exp.Column) and item.table == self.alias and not item.args.get("db"):
            star = item.this
        if not isinstance(star, exp.Star) or not _has_only(star, {"except_"}):
            raise _OtherError
        left_out = [column.name for column in star.args.get("except_") or []]
        if not set(left_out) <= set(self.schema.names):
            raise _OtherError
        return [name for name in self.schema.names if name not in left_out]

    def _column(self, node: exp.Expr) -> str:
        plain = isinstance(node, exp.Column) and _has_only(node, {"this", "table"})
        if not plain or node.name not in self.schema.names:
            raise _OtherError
        if not isinstance(node.this, exp.Identifier) or node.text("table") not in ("", self.alias):
            raise _OtherError
        return node.name

    def _condition(self, aliases: Mapping[str, str]) -> RowCondition | None:
        where = self.select.args.get("where")
        if where is None:
            return None
        if sum(1 for _ in where.find_all(exp.Connector, exp.Not, exp.Paren)) > _MOST_NESTED:
            raise _OtherError
        meant = where.this.copy()
        for column in list(meant.find_all(exp.Column)):
            if not column.table and column.name in aliases:
                column.this.set("this", aliases[column.name])
            self._column(column)
        found = read_condition(meant.sql("duckdb"), self.schema)
        if found is None:
            raise _OtherError
        return found

    def _key(self, item: exp.Expr, shown: list[tuple[str, pa.Field]]) -> SortKey:
        if not isinstance(item, exp.Ordered) or not _has_only(
            item, {"this", "desc", "nulls_first"}
        ):
            raise _OtherError
        node = item.this
        if isinstance(node, exp.Literal) and node.this.isdigit() and not node.is_string:
            if not 1 <= int(node.this) <= len(shown):
                raise _OtherError
            name = shown[int(node.this) - 1][0]
        elif not node.text("table") and (named := [n for n, one in shown if one.name == node.name]):
            name = named[0]
        else:
            name = self._column(node)
        order = "descending" if item.args.get("desc") else "ascending"
        return SortKey(name, order, "at_start" if item.args.get("nulls_first") else "at_end")

    def _count(self, part: str) -> int | None:
        given = self.select.args.get(part)
        if given is None:
            return None
        value = given.expression
        if not _has_only(given, {"expression"}) or not isinstance(value, exp.Literal):
            raise _OtherError
        if value.is_string or not value.this.isdigit() or int(value.this) >= 2**31:
            raise _OtherError
        return int(value.this)


def _has_only(node: exp.Expr, parts: set[str] | frozenset[str]) -> bool:
    return all(name in parts for name, value in node.args.items() if value)
