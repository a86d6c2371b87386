"""Whether the engine answers a statement as the stock DuckDB does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

import duckdb

from engine.errors import EngineError
from engine.sql import run_sql
from tests.oracle.prepared import used_of
from tests.oracle.world import World

Row = tuple[Any, ...]
TOLERANCE = 2e-4
MOST_ROWS = 1_000_000
_BARE = re.compile(r"\bIS_MATCH\b")


@dataclass(frozen=True)
class Verdict:
    """What came of a statement: `same`, `wrong`, `refused` by the engine alone, or `invalid`."""

    kind: str
    why: str = ""


def judge(
    world: World, sql: str, *, options: str = "", given: Mapping[str, Any] | None = None
) -> Verdict:
    """Run a statement on both, with parameters; IS_MATCH stands for a bare CLIP_MATCH."""
    world.follow()
    named = used_of(sql, dict(given or {}))
    try:
        cursor = world.twin.execute(sql, named or None)
        expected = cursor.fetchall()
        names = [column[0] for column in cursor.description]
    except duckdb.Error as error:
        return Verdict("invalid", str(error).splitlines()[0])
    if len(expected) > MOST_ROWS:
        return Verdict("invalid", "the answer is larger than any may be")
    try:
        text = engine_text(sql) + options
        table = run_sql(world.context(), text, (), named, max_rows=MOST_ROWS).table
    except EngineError as error:
        if _fails_without_statistics(world, sql, named):
            return Verdict("invalid", "whether it fails is a matter of DuckDB's statistics")
        return Verdict("refused", str(error))
    if len(table.schema.names) != len(names):
        return Verdict("wrong", f"columns {table.schema.names} for {names}")
    given = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if not table.columns:
        given = [() for _ in range(table.num_rows)]
    if any("__" in repr(row) for row in [table.schema.names, *given]):
        return Verdict("wrong", f"columns of the engine's own leak: {table.schema.names}")
    ordered = is_ordered(sql)
    problem = differ(given, expected, ordered=ordered)
    if problem and not differ(given, _as_written(world, sql, named), ordered=ordered):
        return Verdict("invalid", "DuckDB's optimizer changes its answer, and not to this one")
    return Verdict("wrong", problem) if problem else Verdict("same", f"{len(expected)} rows")


def _as_written(world: World, sql: str, named: Mapping[str, Any]) -> list[Row]:
    """What the stock DuckDB answers without its optimizer, which is wrong at times."""
    with world.twin.cursor() as cursor:
        cursor.execute("PRAGMA disable_optimizer")
        try:
            found: list[Row] = cursor.execute(sql, named or None).fetchall()
        except duckdb.Error:
            return []
        finally:
            cursor.execute("PRAGMA enable_optimizer")
        return found


def _fails_without_statistics(world: World, sql: str, named: Mapping[str, Any]) -> bool:
    """Whether the stock DuckDB fails too where the same rows come as Arrow's, as the engine's do.

    By the statistics of its own tables it may see that no row is left, and then compares none.
    """
    with world.twin.cursor() as cursor:
        for name in ("videos", "gops", "frames"):
            cursor.register(name, world.twin.sql(f"FROM {name}").to_arrow_table())
        try:
            cursor.execute(sql, named or None).fetchall()
        except duckdb.Error:
            return True
    return False


def engine_text(sql: str) -> str:
    """The statement as the engine reads it."""
    return _BARE.sub("CLIP_MATCH", sql)


def is_ordered(sql: str) -> bool:
    """Whether the outermost SELECT has an ORDER BY."""
    depth, outside = 0, []
    for char in sql:
        depth += (char == "(") - (char == ")")
        outside.append(char if depth == 0 else " ")
    return "ORDER BY" in "".join(outside).upper()


def differ(given: list[Row], expected: list[Row], *, ordered: bool) -> str:
    """What is different between two answers; an empty text where nothing is."""
    if len(given) != len(expected):
        return f"{len(given)} rows for {len(expected)}: {given[:3]} for {expected[:3]}"
    left, right = given, expected
    if not ordered:
        left, right = sorted(given, key=_key), sorted(expected, key=_key)
    if all(map(alike, left, right)):
        return ""
    if not ordered and len(left) <= 2000 and _matched(left, right):
        return ""
    wrong = next((a, b) for a, b in zip(left, right, strict=True) if not alike(a, b))
    return f"{wrong[0]} for {wrong[1]}"


def alike(a: Any, b: Any) -> bool:
    """Equal, numbers within what float16 vectors leave."""
    if isinstance(a, float) or isinstance(b, float):
        both = isinstance(a, (int, float)) and isinstance(b, (int, float))
        if not both:
            return a is None and b is None
        return (a != a and b != b) or isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(a, list) and isinstance(b, dict):
        b = list(b.items())  # a MAP
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


def _key(row: Row) -> tuple[str, list[float]]:
    """Rows that are nearly alike lie together, among them the smaller numbers first."""
    return _rough(row), [round(value, 4) for value in row if isinstance(value, float)]


def _rough(row: Any) -> str:
    if isinstance(row, (list, tuple)):
        return "(" + ",".join(map(_rough, row)) + ")"
    return f"{row:.2f}" if isinstance(row, float) else repr(row)


def _matched(left: list[Row], right: list[Row]) -> bool:
    rest = list(right)
    for row in left:
        found = next((place for place, other in enumerate(rest) if alike(row, other)), None)
        if found is None:
            return False
        del rest[found]
    return True
