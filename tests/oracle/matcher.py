"""MATCH_RECOGNIZE by its definition: a matcher that tries every way in the order of preference."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from engine.planner.row_pattern import (
    Joined,
    PatternError,
    RowPattern,
    RowVariable,
    elements,
    read_pattern,
    told_by_row,
)
from engine.sql import run_sql
from tests.oracle.judge import Verdict, differ
from tests.oracle.world import World

Holds = Callable[[str, int], bool]  # whether a variable's DEFINE holds of a row
Way = tuple[int, tuple[str, ...]]  # the row after a match, and the variable of each row in it
DEFINES = {  # as the engine reads it, and as a column of the stock DuckDB
    "picture = 'I'": "picture = 'I'",
    "X.seconds > 1": "seconds > 1",
    "CLIP_MATCH(frame, 'a dog') > 0.1": "CLIP_MATCH(frame, 'a dog') > 0.1",
    "CLIP_MATCH(frame, 'a dog') > PREV(CLIP_MATCH(frame, 'a dog'))":
        "CLIP_MATCH(frame, 'a dog') > lag(CLIP_MATCH(frame, 'a dog')) OVER w",
    "NEXT(X.picture) = 'P' OR seconds = 0": "lead(picture) OVER w = 'P' OR seconds = 0",
    "seconds - PREV(seconds, 2) < 9": "seconds - lag(seconds, 2) OVER w < 9",
    "drift IS NULL AND video_id < 3": "drift IS NULL AND video_id < 3",
}  # fmt: skip


def pattern(random: Random, depth: int) -> str:
    """A random pattern in text."""
    kind = (
        random.choice(["name", "name", "repeat", "repeat", "join", "choice"]) if depth else "name"
    )
    if kind == "name":
        return random.choice("ABC")
    if kind == "repeat":
        inner = pattern(random, depth - 1)
        suffix = random.choice(
            ["*", "+", "?", "+?", "*?", "{2}", "{1,2}", "{2,}", "{,2}", "{1,3}?"]
        )
        return (
            f"({inner}){suffix}" if random.random() < 0.5 or len(inner) > 1 else f"{inner}{suffix}"
        )
    parts = [pattern(random, depth - 1) for _ in range(random.choice((2, 2, 3)))]
    return f"({' '.join(parts)})" if kind == "join" else f"({' | '.join(parts)})"


def ways(node: RowPattern, row: int, holds: Holds) -> Iterator[Way]:
    """Every way to match from a row on, the preferred ones first: the definition."""
    if isinstance(node, RowVariable):
        if holds(node.name, row):
            yield row + 1, (node.name,)
    elif isinstance(node, Joined) and node.choice:
        for part in node.parts:
            yield from ways(part, row, holds)
    elif isinstance(node, Joined):
        yield from after(list(node.parts), row, holds)
    else:
        least, most = bounds(node.suffix)
        yield from repeats(node.inner, row, holds, least, most, lazy=node.suffix.endswith("?")
                           and len(node.suffix) > 1)  # fmt: skip


def after(parts: list[RowPattern], row: int, holds: Holds) -> Iterator[Way]:
    if not parts:
        yield row, ()
        return
    for stop, names in ways(parts[0], row, holds):
        for end, rest in after(parts[1:], stop, holds):
            yield end, names + rest


def repeats(
    inner: RowPattern,
    row: int,
    holds: Holds,
    least: int,
    most: int,
    *,
    lazy: bool,
) -> Iterator[Way]:
    if lazy and least <= 0:
        yield row, ()
    if most > 0:
        for stop, names in ways(inner, row, holds):
            if stop == row and least <= 0:  # a time that took nothing is the last, as in Perl
                yield row, ()
                continue
            for end, rest in repeats(inner, stop, holds, least - 1, most - 1, lazy=lazy):
                yield end, names + rest
    if not lazy and least <= 0:
        yield row, ()


def bounds(suffix: str) -> tuple[int, int]:
    simple = {"*": (0, 99), "+": (1, 99), "?": (0, 1)}
    if suffix[0] in simple:
        return simple[suffix[0]]
    low, comma, high = suffix.rstrip("?").strip("{}").partition(",")
    return int(low or 0), int(high) if high else (99 if comma else int(low))


def expected(
    world: World, text: str, defines: dict[str, str], *, to_next: bool
) -> list[tuple[Any, ...]]:
    """What the definition gives: video, number, first and last second, rows, variables."""
    columns = "".join(f", coalesce({DEFINES[d]}, false) AS {name}" for name, d in defines.items())
    rows = world.twin.execute(
        f"SELECT video_id, seconds{columns} FROM frames"
        " WINDOW w AS (PARTITION BY video_id ORDER BY seconds) ORDER BY video_id, seconds"
    ).fetchall()
    node, found = read_pattern(text), []
    for video in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == video]
        truths = [dict(zip(defines, row[2:], strict=True)) for row in own]

        def holds(name: str, at: int, truths: list[dict[str, bool]] = truths) -> bool:
            return at < len(truths) and truths[at].get(name, True)

        at = number = 0
        while at < len(own):
            stop, names = next(ways(node, at, holds), (at, ()))
            if stop == at:
                at += 1
                continue
            number += 1
            found.append((video, number, own[at][1], own[stop - 1][1], stop - at, names))
            at = at + 1 if to_next else stop
    return found


def judge_pattern(world: World, seed: int, *, options: str = "") -> Verdict:
    """Judge a random statement with MATCH_RECOGNIZE."""
    world.follow()
    random = Random(seed)
    text = pattern(random, 3)
    try:
        read = read_pattern(text)
    except PatternError as error:
        return Verdict("invalid", str(error))
    names = sorted(set(read.names()))
    defines = {n: random.choice(list(DEFINES)) for n in names if random.random() < 0.85}
    told = [
        n
        for n in names
        if all(told_by_row(e) is not None for e in elements(read) if n in e.names())
    ]
    to_next = random.random() < 0.3
    back = random.choice((0, 1, 2))
    sql = _statement(text, defines, told, to_next=to_next, back=back) + options
    table = run_sql(world.context(), sql, max_rows=1000).table
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    wanted = []
    for video, number, a, b, n, of in expected(world, text, defines, to_next=to_next):
        extra: list[Any] = []
        for name in told:
            own = [a + place / 2 for place, variable in enumerate(of) if variable == name]
            extra += [len(own), own[-1 - back] if len(own) > back else None]
            extra += [own[back] if len(own) > back else None]
        wanted.append((video, number, a, b, n, *extra))
    problem = differ(rows, wanted, ordered=True)
    return (
        Verdict("wrong", f"{problem}: {sql}") if problem else Verdict("same", f"{len(rows)} rows")
    )


def _statement(
    text: str, defines: dict[str, str], told: list[str], *, to_next: bool, back: int
) -> str:
    skip = "AFTER MATCH SKIP TO NEXT ROW" if to_next else "AFTER MATCH SKIP PAST LAST ROW"
    offset = f", {back}" if back else ""
    measures = "".join(
        f", count({n}.*) AS n_{n}, LAST({n}.seconds{offset}) AS s_{n},"
        f" FIRST({n}.seconds{offset}) AS f_{n}"
        for n in told
    )
    given = ", ".join(f"{n} AS {d.replace('X.', f'{n}.')}" for n, d in defines.items())
    return (
        "SELECT * FROM frames MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES"
        " MATCH_NUMBER() AS number, FIRST(seconds) AS a, LAST(seconds) AS b, count(*) AS n"
        f"{measures} ONE ROW PER MATCH {skip} PATTERN ({text})"
        f"{' DEFINE ' if given else ''}{given}) AS m ORDER BY video_id, number"
    )
