"""Finds the relation that a handle (`frame`, `video_id`) comes from, through derived tables."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Final, TypeAlias

from sqlglot import exp

from engine.errors import BindError
from engine.planner.block import FromItem, Scope
from engine.planner.place import position_of

# by relation, the column that stands for a row with the time in which something may be said
WITH_TIME: Final = {
    "videos": "video_id", "frames": "frame", "clips": "clip", "gops": "gop",
    "moments": "start_seconds", "transcript": "line",
}  # fmt: skip
_NO_HANDLES = ("detections", "nearest")  # whose `frame` is a number alone
_CLOSED = ("group", "distinct", "pivots")

# the SELECTs from the one that uses a handle down to the one that reads the relation, each with the
# source by which it reads the next
Path: TypeAlias = list[tuple[Scope, FromItem]]


def resolve_handle(
    block: Scope, column: exp.Column, wanted: str, sql: str
) -> tuple[FromItem, Path]:
    """Find the relation whose handle `column` is, and the way to it."""
    scope: Scope | None = block
    while scope is not None:
        paths = _paths(scope, column, wanted)
        if len(paths) > 1 and not _are_one(scope, column):
            names = " or ".join(f"{path[0][1].alias}.{wanted}" for path in paths)
            raise _error(column, f"{wanted} is ambiguous; write {names}", sql)
        if paths:
            return paths[0][-1][1], paths[0]
        if not scope.is_foreign(column) and column.table.lower() not in ("", *scope.sources):
            break
        scope = scope.parent
    if column.name.lower() != wanted:
        raise _error(column, f"expected the handle {wanted}, got {column.name!r}", sql)
    raise _error(
        column,
        f"{column.sql('duckdb')} is not the handle {wanted} of a relation in FROM: it must "
        "come from one unchanged, not through GROUP BY, DISTINCT or a set operation",
        sql,
    )


def resolve_any(
    block: Scope, column: exp.Column, handles: Mapping[str, str], sql: str, what: str
) -> tuple[FromItem, Path]:
    """Find the relation of which `column` is the handle that it has among some.

    `what` those relations have and others have not.
    """
    for relation, wanted in handles.items():
        with suppress(BindError):
            source, path = resolve_handle(block, column, wanted, sql)
            if source.relation == relation:
                return source, path
    wanted = next((h for h in handles.values() if h == column.name.lower()), "frame")
    source, _ = resolve_handle(block, column, wanted, sql)
    expected = handles.get(source.relation)
    said = f"a row of {source.relation} is meant by {expected}"
    if expected is None:
        said = f"{source.relation} have no {what}"
    raise _error(column, f"{said}, got {column.name!r}", sql)


def carry(path: Path, name: str) -> exp.Column:
    """Give a relation the column of a function, and name it where the function is used."""
    relation = path[-1][1]
    if name not in relation.own:
        relation.own.append(name)
    for (_, outer), (inner, source) in pairwise(path):
        assert outer.body is not None
        if name not in outer.body.hidden:
            outer.body.hidden.append(name)
            inner.select.append("expressions", source.column(name))
    return path[0][1].column(name)


def _are_one(block: Scope, column: exp.Column) -> bool:
    return not column.table and column.name.lower() in block.merged


def _paths(block: Scope, column: exp.Column, wanted: str) -> list[Path]:
    """Return all ways from a column of a SELECT to a relation's handle."""
    name, table = column.name.lower(), column.table.lower()
    found = []
    for source in block.sources.values():
        if table not in ("", source.alias) or name not in (source.columns or ()):
            continue
        if source.base(name) == wanted and source.relation not in _NO_HANDLES:
            found.append([(block, source)])
        elif source.body is not None:
            found += [[(block, source), *path] for path in _through(source, name, wanted)]
        elif not table and not _are_one(block, column):
            found.append([])  # another column of this name
    if len(found) > 1 and [] in found:
        return []
    return [path for path in found if path]


def _through(source: FromItem, name: str, wanted: str) -> list[Path]:
    """The way through a derived table or CTE that shows the handle unchanged."""
    body = source.body
    if body is None or body.block is None or body.outputs is None or source.columns is None:
        return []
    if any(body.block.select.args.get(part) for part in _CLOSED):
        return []
    node = body.outputs[source.columns.index(name)].node
    if not isinstance(node, exp.Column):
        return []
    paths = _paths(body.block, node, wanted)
    return paths[:1] if len(paths) == 1 or _are_one(body.block, node) else []


def _error(node: exp.Expr, message: str, sql: str) -> BindError:
    return BindError(message, sql=sql, position=position_of(node))
