"""What statements that are no SELECT do: make, drop, list and describe."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pyarrow as pa

from engine.caller import may_change
from engine.errors import BindError, ParseError, QueryError, UsageError
from engine.operators.base import Context
from engine.planner.commands import Command, CreateView, Describe, DropView, Show, check_view_name
from engine.planner.prepare import prepare
from engine.planner.relations import NEED_ARGUMENTS, RELATIONS
from engine.planner.views import views_reached
from engine.storage.vocabulary import Vocabulary

_NAMES: Final[Mapping[str, str]] = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
    "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT",
    "float": "FLOAT", "double": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR",
    "binary": "BLOB", "date32[day]": "DATE", "time64[us]": "TIME", "null": '"NULL"',
    "timestamp[s]": "TIMESTAMP_S", "timestamp[ms]": "TIMESTAMP_MS", "timestamp[us]": "TIMESTAMP",
    "timestamp[ns]": "TIMESTAMP_NS", "month_day_nano_interval": "INTERVAL",
}  # fmt: skip
_DESCRIBED: Final = pa.schema(
    [
        (name, pa.string())
        for name in ("column_name", "column_type", "null", "key", "default", "extra")
    ]
)
Given = tuple[Sequence[Any], Mapping[str, Any]]  # positional and named parameters


def run_command(context: Context, command: Command, sql: str, given: Given) -> pa.Table:
    """Do what a statement commands; return what it tells as rows."""
    vocabulary = context.vocabulary()
    match command:
        case Show("tables"):
            return pa.table({"name": sorted([*RELATIONS, *vocabulary.selects])})
        case Show():
            columns = list(zip(*vocabulary.views, strict=True)) or [(), ()]
            named = zip(("name", "sql"), columns, strict=True)
            return pa.table({name: pa.array(texts, pa.string()) for name, texts in named})
        case Describe(select):
            relation = select[len("FROM ") :].lower()
            if relation in NEED_ARGUMENTS:
                return _described(RELATIONS[relation])
            with_place = _in_whole(sql, select)
            return _described(_columns(context, select, given, vocabulary, with_place))
    if not may_change():
        what = "CREATE VIEW" if isinstance(command, CreateView) else "DROP VIEW"
        raise ParseError(f"only SELECT is accepted of who may only read, got {what}", sql=sql)
    while True:
        if isinstance(command, CreateView):
            change = _create(context, command, sql, given, vocabulary)
        else:
            change = _drop(context, command, vocabulary)
        if context.store.catalog.change_as_checked(vocabulary, change):
            break
        vocabulary = context.vocabulary()  # somebody else made or dropped something meanwhile
    return pa.table({"view": [command.name]})


def _create(
    context: Context, command: CreateView, sql: str, given: Given, vocabulary: Vocabulary
) -> Callable[[], None]:
    """Check a view as if it was asked for, and what reads it; return what keeps it."""
    check_view_name(command.name)
    if command.name in vocabulary.selects and not command.replace:
        said = f"view {command.name} is there; CREATE OR REPLACE VIEW takes its place"
        raise UsageError(said)
    if any(given):
        raise BindError("a view takes no parameters; allowed: the values themselves", sql=sql)
    views = dict(vocabulary.views) | {command.name: command.select}
    after = replace(vocabulary, views=tuple(sorted(views.items())))
    _columns(context, command.select, given, after, _in_whole(sql, command.select), alone=True)
    for name, text in vocabulary.views:
        if name != command.name and command.name in views_reached(text, views):
            try:
                _columns(context, text, given, after)
            except QueryError as error:
                said = f"view {name} reads {command.name} and would fail: {error}"
                raise UsageError(said) from error
    return partial(context.store.catalog.save_view, command.name, command.select)


def _drop(context: Context, command: DropView, vocabulary: Vocabulary) -> Callable[[], None]:
    """Check that nothing reads a view; return what drops it."""
    views = vocabulary.selects
    if command.name not in views and command.if_exists:
        return lambda: None
    readers = [name for name, text in views.items() if command.name in views_reached(text, views)]
    if readers:
        raise UsageError(f"view {command.name} is read by {', '.join(readers)}; drop that first")
    return partial(context.store.catalog.drop_view, command.name)


def _in_whole(sql: str, part: str) -> tuple[str, int]:
    """Say where a part that ends a statement begins in it."""
    return sql, sql.rfind(part)


def _columns(
    context: Context,
    select: str,
    given: Given,
    vocabulary: Vocabulary,
    within: tuple[str, int] | None = None,
    *,
    alone: bool = False,
) -> pa.Schema:
    """Plan a SELECT and return its columns; an error shows its place in the whole statement."""
    sql, start = within or (select, 0)
    try:
        prepared = prepare(
            select,
            *given,
            context.sandbox,
            false_match_rate=context.options.false_match_rate,
            max_rows=0,
            vocabulary=vocabulary,
        )
    except QueryError as error:
        place = None if error.position is None or start < 0 else error.position + start
        raise type(error)(str(error), sql=sql, position=place) from error
    if alone and (prepared.statement.options or prepared.statement.explain != "no"):
        raise BindError("a view is a SELECT alone, without OPTIONS or EXPLAIN", sql=sql)
    return prepared.operator.schema


def _described(schema: pa.Schema) -> pa.Table:
    rows = [(field.name, type_name(field.type), "YES", None, None, None) for field in schema]
    columns = zip(*rows, strict=True) if rows else [()] * len(_DESCRIBED)
    return pa.table([pa.array(list(column), pa.string()) for column in columns], schema=_DESCRIBED)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else f'"{name}"'


def type_name(kind: pa.DataType) -> str:
    """Return DuckDB's name of a type."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.tz:
        return "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_map(kind):
        return f"MAP({type_name(kind.key_type)}, {type_name(kind.item_type)})"
    if pa.types.is_struct(kind):
        inner = (f"{_quoted(field.name)} {type_name(field.type)}" for field in kind)
        return f"STRUCT({', '.join(inner)})"
    if pa.types.is_fixed_size_list(kind):
        return f"{type_name(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{type_name(kind.value_type)}[]"
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    return _NAMES.get(str(kind).removeprefix("large_"), str(kind).upper())
