"""A SELECT that each shard can run on its own rows, and how what they return is one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlglot import exp
from sqlglot import parse as parse_all
from sqlglot.errors import SqlglotError

from engine.errors import BindError, ParseError
from engine.planner.bounds import nesting_bounded
from engine.sharding.shards import STEP

ALLOWED: Final = (
    "over several shards: SELECT … FROM frames, videos or gops [WHERE …] [ORDER BY … LIMIT …], with"
    " CLIP_MATCH and IMAGE_MATCH as scores"
)
_RELATIONS = ("frames", "videos", "gops")
_SCORES = ("clip_match", "image_match")
_PARTS = {"expressions", "from_", "where", "order", "limit", "offset", "kind"}
_COMPARED = (
    *(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ, exp.Between, exp.Alias, exp.Select),
    *(exp.Ordered, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.Round, exp.Cast),
)
_KEY = "_shard_key_"
_WHOLE = (exp.Query, exp.AggFunc, exp.Window, exp.Lambda, exp.Join, exp.Unnest, exp.Pivot)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """By what merged rows are sorted: a column that the shards return."""

    column: str
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """A statement for each shard, and what is done with all of their rows."""

    query: exp.Select
    keys: tuple[OrderKey, ...]
    limit: int | None
    offset: int
    params: Mapping[str, Any] | Sequence[Any] | None  # that the shards are given

    def sql_of(self, place: int) -> str:
        """Return what the shard at a place runs: its videos have the ids that they have of all."""
        query = self.query.copy()
        if place:
            for column in list(query.find_all(exp.Column)):
                if column.name.lower() == "video_id":
                    shifted = exp.Paren(this=exp.Add(this=column.copy(), expression=_number(place)))
                    column.replace(shifted)
        return str(query.sql("duckdb"))


def spread(sql: str, params: Mapping[str, Any] | Sequence[Any] | None) -> Spread:
    """Read a statement; what only one store of all videos can answer is refused."""
    with nesting_bounded(sql):
        query = _read(sql)
        _check(query, sql)
        _name_columns(query, sql)
        limit, offset = (_count(query, name, sql, params) for name in ("limit", "offset"))
        keys = _keep_keys(query, sql)
    before = _named(query)
    query.set("offset", None)
    if limit is not None:
        query.set("limit", exp.Limit(expression=exp.Literal.number(limit + (offset or 0))))
    if isinstance(params, Mapping):
        counted = before - _named(query)
        params = {name: value for name, value in params.items() if name not in counted}
    return Spread(query, keys, limit, offset or 0, params)


def _named(query: exp.Select) -> set[str]:
    """Return the names of the values that a statement takes."""
    return {node.name for node in query.find_all(exp.Placeholder, exp.Parameter) if node.name}


def _number(place: int) -> exp.Expr:
    return exp.Literal.number(place * STEP)


def _refuse(what: str, sql: str) -> BindError:
    return BindError(f"{what} is of one shard alone; allowed {ALLOWED}", sql=sql)


def _read(sql: str) -> exp.Select:
    try:
        statements = [each for each in parse_all(sql, read="duckdb") if each is not None]
    except (SqlglotError, RecursionError) as error:
        raise ParseError(f"this cannot be read; allowed {ALLOWED}", sql=sql) from error
    if len(statements) != 1 or type(statements[0]) is not exp.Select:
        raise _refuse("anything but one plain SELECT", sql)
    return statements[0]


def _check(query: exp.Select, sql: str) -> None:
    parts = {name for name, value in query.args.items() if value}
    wrong = next((name for name in sorted(parts - _PARTS)), None)
    if wrong is not None:
        raise _refuse(wrong.strip("_").upper().replace("EXPRESSIONS", "A LIST"), sql)
    source = query.args.get("from_")
    table = None if source is None else source.this
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        raise _refuse("reading anything but a relation", sql)
    if table.name.lower() not in _RELATIONS or table.args.get("db"):
        raise _refuse(f"the relation {table.name}", sql)
    if table.args.get("joins") or table.args.get("sample") or table.args.get("pivots"):
        raise _refuse("a join, a sample or a pivot", sql)
    for node in query.walk():
        if node is not query and isinstance(node, _WHOLE):
            raise _refuse(f"{type(node).__name__.upper()}", sql)
        if isinstance(node, exp.Anonymous):
            _check_call(node, sql)


def _check_call(call: exp.Anonymous, sql: str) -> None:
    """Let scores pass where they are compared or told; what rests on all frames does not."""
    if call.name.lower() not in _SCORES:
        raise _refuse(f"the function {call.name.upper()}", sql)
    above = call.parent
    while isinstance(above, exp.Paren):
        above = above.parent
    if not isinstance(above, _COMPARED):
        rests = "a bare match rests on what unrelated texts score over all frames; compare it, as"
        said = f"{rests} {call.name.upper()}(…) > 0.27"
        raise BindError(f"{said}; allowed {ALLOWED}", sql=sql)


def _name_columns(query: exp.Select, sql: str) -> None:
    """Let columns be called the same whichever shard they come from."""
    for item in list(query.expressions):
        if isinstance(item, exp.Star) or (
            isinstance(item, exp.Column) and isinstance(item.this, exp.Star)
        ):
            raise _refuse("*, where columns are not named,", sql)
        ours = any(column.name.lower() == "video_id" for column in item.find_all(exp.Column))
        if isinstance(item, exp.Column):
            item.replace(exp.alias_(item.copy(), item.name, quoted=item.this.quoted))
        elif ours and not isinstance(item, exp.Alias):
            raise BindError(
                f"{item.sql('duckdb')} needs a name over several shards; allowed: … AS name",
                sql=sql,
            )


def _count(
    query: exp.Select,
    name: str,
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
) -> int | None:
    """Return what LIMIT or OFFSET says."""
    node = query.args.get(name)
    if node is None:
        return None
    value = node.expression if isinstance(node, (exp.Limit, exp.Offset)) else None
    if isinstance(value, exp.Literal) and value.is_int:
        return int(value.this)
    named = value.name if isinstance(value, (exp.Placeholder, exp.Parameter)) else ""
    given = params.get(named) if isinstance(params, Mapping) else None
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    raise _refuse(f"{name.upper()} of anything but a number or a $name of one", sql)


def _keep_keys(query: exp.Select, sql: str) -> tuple[OrderKey, ...]:
    """Have the shards return what is sorted by, in columns of its own."""
    order = query.args.get("order")
    keys: list[OrderKey] = []
    shown = {item.alias.lower(): item.this for item in query.expressions if item.alias}
    plain = list(query.expressions)
    for number, item in enumerate(order.expressions if order else ()):
        key = item.this
        if isinstance(key, exp.Literal) and key.is_int:
            place = int(key.this) - 1
            if not 0 <= place < len(plain):
                raise BindError(f"ORDER BY {key.this}; allowed: 1 to {len(plain)}", sql=sql)
            key = plain[place].unalias()
        elif isinstance(key, exp.Column) and not key.table and key.name.lower() in shown:
            key = shown[key.name.lower()]
        elif key.name.lower() == "all":
            raise _refuse("ORDER BY ALL", sql)
        if any(isinstance(part, exp.Placeholder) and not part.this for part in key.walk()):
            raise _refuse("ORDER BY of a ?, in place of a $name,", sql)
        name = f"{_KEY}{number}"
        query.select(exp.alias_(key.copy(), name), copy=False)
        descending = bool(item.args.get("desc"))
        keys.append(OrderKey(name, descending, bool(item.args.get("nulls_first"))))
    return tuple(keys)
