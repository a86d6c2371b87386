"""MATCH_RECOGNIZE against a matcher that tries every way in the order of preference."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from engine.errors import EngineError
from engine.planner.row_pattern import (
    Joined,
    PatternError,
    Repeated,
    RowPattern,
    RowVariable,
    elements,
    read_pattern,
    told_by_row,
)
from engine.sql import run_sql
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
            if stop > row or least > 0:  # nothing, again and again, leads nowhere
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


@pytest.mark.parametrize("block", range(6))
def test_random_patterns(block: int, world: World) -> None:
    matched = 0
    for seed in range(block * 25, (block + 1) * 25):
        random = Random(seed)
        text = pattern(random, 3)
        try:
            read = read_pattern(text)
        except PatternError:
            continue
        names = sorted(set(read.names()))
        defines = {n: random.choice(list(DEFINES)) for n in names if random.random() < 0.85}
        told = [
            n
            for n in names
            if all(told_by_row(e) is not None for e in elements(read) if n in e.names())
        ]
        to_next = random.random() < 0.3
        skip = "AFTER MATCH SKIP TO NEXT ROW" if to_next else "AFTER MATCH SKIP PAST LAST ROW"
        counts = "".join(f", count({n}.*) AS n_{n}, LAST({n}.seconds) AS s_{n}" for n in told)
        given = ", ".join(f"{n} AS {d.replace('X.', f'{n}.')}" for n, d in defines.items())
        sql = (
            "SELECT * FROM frames MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES"
            " MATCH_NUMBER() AS number, FIRST(seconds) AS a, LAST(seconds) AS b, count(*) AS n"
            f"{counts} ONE ROW PER MATCH {skip} PATTERN ({text})"
            f"{' DEFINE ' if given else ''}{given}) AS m ORDER BY video_id, number"
        )
        table = run_sql(world.context(), sql, max_rows=1000).table
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        wanted = []
        for video, number, a, b, n, of in expected(world, text, defines, to_next=to_next):
            extra: list[Any] = []
            for name in told:
                places = [at for at, own in enumerate(of) if own == name]
                extra += [len(places), a + places[-1] / 2 if places else None]
            wanted.append((video, number, a, b, n, *extra))
        assert rows == wanted, f"seed {seed}: {sql}"
        matched += bool(rows)
    assert matched >= 8


def test_it_is_linear_in_the_rows(world: World) -> None:
    """A pattern on which backtracking takes for ever: nested repetition that never ends well."""
    sql = (
        "SELECT count(*) AS n FROM (SELECT range AS i FROM range(20000)) MATCH_RECOGNIZE"
        " (ORDER BY i MEASURES FIRST(i) AS a PATTERN ((A+ A+)+ B) DEFINE A AS i >= 0, B AS i < 0)"
    )
    assert run_sql(world.context(), sql, max_rows=10).rows() == [{"n": 0}]


def test_it_is_read_like_a_derived_table(world: World) -> None:
    sql = (
        "WITH d AS (SELECT *, CLIP_MATCH(frame, 'a dog') AS dog FROM frames WHERE video_id < 4),"
        " m AS (SELECT * FROM d MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES"
        " max(dog) AS best, CLASSIFIER() AS last PATTERN (HIGH+) DEFINE HIGH AS dog > 0.1))"
        " SELECT v.name, m.best, m.last FROM m JOIN videos v USING (video_id) ORDER BY m.best DESC"
    )
    best = run_sql(world.context(), sql, max_rows=10).rows()
    assert {row["last"] for row in best} == {"HIGH"}
    scores = {
        f: world.score(f, "a dog") for f in (1000 * v + i for v in (1, 2, 3) for i in range(6))
    }
    assert best[0]["best"] == pytest.approx(max(scores.values()), abs=1e-4)
    run_sql(world.context(), f"CREATE VIEW runs AS {sql}", max_rows=10)
    assert run_sql(world.context(), "SELECT * FROM runs", max_rows=10).rows() == best
    run_sql(world.context(), "DROP VIEW runs", max_rows=10)


HEAD = "SELECT * FROM frames MATCH_RECOGNIZE (PARTITION BY video_id ORDER BY seconds MEASURES "


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("1 AS x PATTERN (A B DEFINE A AS true)", "closed|expect"),
        ("1 AS x PATTERN (A*) DEFINE A AS true)", "matches no rows at all"),
        ("1 AS x PATTERN (A{3,2}) DEFINE A AS true)", "up to 1000 times, rising"),
        ("1 AS x PATTERN (A) DEFINE B AS true)", "DEFINE has B, which PATTERN has not"),
        ("1 AS x PATTERN (A B) DEFINE B AS B.seconds > A.seconds)", "match so far: a.seconds"),
        ("1 AS x PATTERN (A B) DEFINE B AS seconds > FIRST(seconds))", "looks at the match so far"),
        ("1 AS x ALL ROWS PER MATCH PATTERN (A) DEFINE A AS true)", "allowed: ONE ROW PER MATCH"),
        ("1 AS x AFTER MATCH SKIP TO LAST A PATTERN (A) DEFINE A AS true)", "AFTER MATCH SKIP"),
        ("count(A.*) AS n PATTERN ((A B)+) DEFINE A AS true)", "which is repeated together with"),
        ("max(C.seconds) AS n PATTERN (A B) DEFINE A AS true)", "C is no variable of PATTERN"),
        ("FIRST(A.seconds, 1) AS n PATTERN (A+) DEFINE A AS true)", r"allowed: FIRST\(expr"),
        ("LAST(seconds, 1) AS n PATTERN (A+) DEFINE A AS true)", "without an offset"),
        ("CLASSIFIER(A) AS n PATTERN (A) DEFINE A AS true)", r"allowed: CLASSIFIER\(\) without"),
        ("MATCH_NUMBER(1) AS n PATTERN (A) DEFINE A AS true)", r"allowed: MATCH_NUMBER\(\)"),
        ("sum(seconds) OVER () AS n PATTERN (A) DEFINE A AS true)", "MEASURES: .*no windows"),
        ("1 AS x PATTERN (A) DEFINE A AS row_number() OVER () > 1)", "DEFINE of A: .*no windows"),
        ("1 AS x PATTERN (A) DEFINE A AS PREV(seconds, 1, 9) > 1)", r"PREV\(expression \[, rows"),
        ("secnds AS n PATTERN (A) DEFINE A AS true)", "nearest: seconds"),
        ("1 AS x PATTERN (A) DEFINE A AS secnds > 1)", "nearest: seconds"),
    ],
)  # fmt: skip
def test_what_is_refused(rest: str, said: str, world: World) -> None:
    with pytest.raises(EngineError, match=f"(?i){said}"):
        run_sql(world.context(), HEAD + rest, max_rows=10)


def test_a_join_goes_around(world: World) -> None:
    sql = "SELECT * FROM frames JOIN videos USING (video_id) MATCH_RECOGNIZE (ORDER BY seconds"
    with pytest.raises(EngineError, match="put a join into a derived table"):
        run_sql(world.context(), f"{sql} MEASURES 1 AS x PATTERN (A) DEFINE A AS true)", max_rows=9)


def test_suffixes_are_read() -> None:
    assert read_pattern("A {2 , 3}? | (B)") == Joined(
        (Repeated(RowVariable("A"), "{2,3}?", 2), RowVariable("B")), choice=True
    )
