"""SQL over many vectors against the index alone, LanceDB and DuckDB: one process, taking turns.

Times are of the clock and of the processor: the second says more where others keep a machine busy.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, TypeVar

import numpy as np

from engine.cage.sandbox import Sandbox
from engine.errors import UsageError
from engine.evaluation.bench import search as made
from engine.evaluation.bench.peers import Duck, Lance, tune
from engine.evaluation.bench.query_bed import (
    DUCK_ROWS,
    FILTERS,
    MOST,
    WhatItTook,
    lay,
    open_lance,
    queries_of,
    resident_bytes,
    seconds_below,
    truth_of,
)
from engine.evaluation.bench.query_goals import COLUMNS, Figures, judge
from engine.evaluation.report import Cell, Report
from engine.operators.base import Context
from engine.operators.relational import Relational
from engine.planner.prepare import prepare
from engine.query import query
from engine.search.context import Background
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.store import Store

TOP = 10
TUNED = 40  # queries by which the peer's probes are chosen
SCANNED_ROWS = 2_000_000  # what scores every row takes seconds above
BUILT = (
    *("rows", "write", "build", "open + first", "LanceDB write", "LanceDB build"),
    *("bytes a row", "of them index", "LanceDB's", "MB", "LanceDB's MB"),
)
_COLUMNS = "f.video_id, f.frame, f.seconds"
Call = Callable[[int], Any]  # the number of a query
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Named:
    """Encodes `q7` as the query of that number: encoding is not what is measured here."""

    vectors: np.ndarray  # float32 [n, E]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors that the texts name."""
        return np.stack([self.vectors[int(text[1:])] for text in texts])

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """No picture is asked for."""
        raise UsageError(f"{len(images)} images; allowed: texts")


@dataclass(slots=True)
class Bed:
    """A filled store, its peers over the same rows, and the queries."""

    store: Store
    sandbox: Sandbox
    queries: np.ndarray  # float32 [n, E], like texts
    num_rows: int
    lance: Lance | None
    duck: Duck | None
    data: dict[str, Any] = field(default_factory=dict)

    def context(self) -> Context:
        """What a statement reaches."""
        return Context(
            reading=Reading(self.store, made.SPACE.key),
            encoder=Named(self.queries),
            sandbox=self.sandbox,
            background=lambda: Background(()),
            embed=lambda *_: Embedded(),
            respond=lambda *_: None,
        )

    def sql(self, statement: str, number: int) -> Any:
        """Run a statement in which `$q` names the query."""
        text = statement.replace("$q", f"'q{number}'")
        return run_sql(self.context(), text, max_rows=self.num_rows).table

    def query(self, number: int) -> Any:
        """Ask for the best moments without SQL."""
        return query(self.context(), f"q{number}", top_k=TOP)

    def stages(self, statement: str, number: int) -> tuple[float, float, float, float]:
        """Return the milliseconds of planning anew, of reading, of the rest, and of EXPLAIN."""
        text = f"/* {perf_counter()} */ " + statement.replace("$q", f"'q{number}'")
        clock = [perf_counter()]
        prepared = prepare(
            text, (), {}, self.sandbox, false_match_rate=0.01, max_rows=self.num_rows
        )
        clock.append(perf_counter())
        tail = prepared.operator
        assert isinstance(tail, Relational)
        tables = tail.read_inputs(self.context())
        clock.append(perf_counter())
        tail.finish(tables, self.context())
        clock.append(perf_counter())
        run_sql(self.context(), f"EXPLAIN {text}", max_rows=self.num_rows)
        clock.append(perf_counter())
        plan, read, rest, explain = (1e3 * np.diff(clock)).tolist()
        return plan, read, rest, explain


def run(
    *,
    sizes: Sequence[int] = (100_000, 1_000_000),
    queries: int = 100,
    folder: Path | None = None,
    seed: int = 0,
) -> Report:
    """Measure every size in a process of its own.

    In a `folder` what is written is kept: a run that was broken off goes on where it was.
    """
    figures, built, notes = list[Figures](), [], list[str]()
    for size in sizes:
        with ExitStack() as stack:
            root = Path(stack.enter_context(TemporaryDirectory()))
            if folder is not None:
                root = folder / f"{size}-{seed}"
                root.mkdir(parents=True, exist_ok=True)
            taken = lay(root, size, seed, _apart)
            done = _apart(measure, root, size, queries, seed, taken)
        figures += done.figures
        built.append((size, *done.built))
        notes += done.notes
    return Report(
        "SQL, the index alone and peers",
        COLUMNS,
        [each.row() for each in figures],
        (
            f"{made.DIMENSION} dimensions, queries like texts, one at a time, all in one process,"
            " taking turns; ms, cpu: medians of the processor time of all threads; plan (of a text"
            " that is new), read, rest and EXPLAIN are medians of the stages of the SQL; recall of"
            f" the index, at {TOP} and at {MOST}",
            *dict.fromkeys(notes),
        ),
        more=(
            Report("What it takes: seconds, bytes a row on disk, MB in memory", BUILT, built),
            judge(figures, built),
        ),
    )


def _apart(call: Callable[..., T], *given: Any) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(call, *given).result()


@dataclass(frozen=True, slots=True)
class AnsweredQuery:
    """What one size gave."""

    figures: list[Figures]
    built: tuple[Cell, ...]  # in the order of BUILT, but for the size
    notes: list[str]


def measure(root: Path, num_rows: int, count: int, seed: int, taken: WhatItTook) -> AnsweredQuery:
    """Open what was prepared, and let all take turns."""
    queries = queries_of(num_rows, seed)[: max(count, TUNED, 3)]
    truth = {name: ids[: len(queries)] for name, ids in truth_of(root).items()}
    before, start = resident_bytes(), perf_counter()
    with Store.open(root / "ours") as store:
        store.search(made.SPACE.key, queries[0], TOP)
        opened = perf_counter() - start
        for query in queries:
            store.search(made.SPACE.key, query, TOP)
        ours = resident_bytes() - before
        lance, theirs = open_lance(root, taken), None
        if lance is not None:
            before = resident_bytes()
            for query in queries:
                lance.search(query, TOP, "", 32)
            theirs = (resident_bytes() - before) / 1e6
        with _bed(root, store, queries, num_rows, lance) as bed:
            figures = [_top_k(bed, name, count, truth[name]) for name in FILTERS]
            if num_rows <= SCANNED_ROWS:
                figures += _scans(bed, max(3, count // 10))
    notes = ["LanceDB is not installed: pip install lancedb"]
    if lance is not None:
        notes = [f"LanceDB probes {lance.probes} lists of {lance.kind} at {num_rows} rows"]
    if num_rows > SCANNED_ROWS:
        notes.append("statements that score every row are left out above 2·10⁶ rows")
    seconds = (taken.write, taken.build, opened, taken.lance_write, taken.lance_build)
    sizes = (taken.bytes_a_row, taken.index_bytes_a_row, taken.lance_bytes_a_row)
    return AnsweredQuery(figures, (*seconds, *sizes, ours / 1e6, theirs), notes)


@contextmanager
def _bed(
    root: Path, store: Store, queries: np.ndarray, num_rows: int, lance: Lance | None
) -> Iterator[Bed]:
    duck = None
    if num_rows <= DUCK_ROWS:
        duck = Duck.open(root / "duck.db", made.DIMENSION, 2)
    with Sandbox() as sandbox:
        yield Bed(store, sandbox, queries, num_rows, lance, duck)


def _top_k(bed: Bed, name: str, count: int, nearest: np.ndarray) -> Figures:
    """The best ten frames, of all or of those that a filter lets through."""
    frames = bed.store.view(made.SPACE.key).frames
    limit = seconds_below(name)
    where = "" if name == "none" else f"seconds < {limit:g}"
    allowed = frames.row_ids[frames.seconds < limit] if where else None
    statement = (
        f"SELECT {_COLUMNS}, CLIP_MATCH(f.frame, $q) AS s FROM frames f"
        f"{' WHERE f.' + where if where else ''} ORDER BY s DESC LIMIT {TOP}"
    )
    alone = partial(bed.store.search, made.SPACE.key, k=TOP, allowed=allowed)
    truth = list(nearest[:, :TOP])
    found = [_ids(bed.sql(statement, number)) for number in range(len(truth))]
    calls: dict[str, Call] = {
        "sql": partial(bed.sql, statement),
        "index": lambda n: alone(query=bed.queries[n]),
    }
    by_us, by_lance = _recall(found, truth), None
    if (lance := bed.lance) is not None:
        ask = partial(lance.search, k=TOP, where=where)
        ours = _recall(found[:TUNED], truth[:TUNED])
        probes = tune(ask, bed.queries[:TUNED], truth[:TUNED], ours)
        lance.probes[name] = probes
        by_lance = _recall([ask(query, probes=probes) for query in bed.queries], truth)
        calls["lance"] = lambda n: ask(bed.queries[n], probes=probes)
    if (duck := bed.duck) is not None:
        sql = f"SELECT row_id, score AS s FROM frames{' WHERE ' + where if where else ''}"
        calls["duck"] = lambda n: duck.run(f"{sql} ORDER BY s DESC LIMIT {TOP}", bed.queries[n])
    times = _take_turns(calls, count)
    more = partial(bed.store.search, made.SPACE.key, k=MOST, allowed=allowed)
    hundred = _recall([more(query=query).row_ids for query in bed.queries], list(nearest))
    stages = _stages(bed, statement, count)
    return Figures(bed.num_rows, f"top {TOP}", name, times, stages, by_us, by_lance, hundred)


def _scans(bed: Bed, count: int) -> Iterator[Figures]:
    """Statements that need the score of every row."""
    key = made.SPACE.key
    rows = Reading(bed.store, key).rows
    scores = np.concatenate([rows.scores(q) for q in bed.queries[:3]])
    cut = float(np.quantile(scores, 0.999))
    above = f"SELECT {_COLUMNS} FROM frames f WHERE CLIP_MATCH(f.frame, $q) > {cut:.6f}"
    best = "SELECT f.video_id, max(CLIP_MATCH(f.frame, $q)) AS s FROM frames f GROUP BY 1"
    spans = f"SELECT * FROM moments($q, min_score => {cut:.6f})"
    cases: list[tuple[str, str, dict[str, Call]]] = [
        ("cut-off", above, {"index": lambda n: rows.within(bed.queries[n], cut)}),
        ("best per video", best, {"index": lambda n: bed.store.scores(key, bed.queries[n])}),
        ("moments", spans, {"index": lambda n: rows.within(bed.queries[n], cut)}),
        ("Engine.query", "", {}),
    ]
    if (lance := bed.lance) is not None:
        cases[0][2]["lance"] = lambda n: lance.above(bed.queries[n], cut, bed.num_rows)
    if (duck := bed.duck) is not None:
        sql = f"SELECT row_id FROM frames WHERE score > {cut}"
        cases[0][2]["duck"] = lambda n: duck.run(sql, bed.queries[n])
        by_video = "SELECT video_id, max(score) FROM frames GROUP BY 1"
        cases[1][2]["duck"] = lambda n: duck.run(by_video, bed.queries[n])
    for name, statement, calls in cases:
        whole: Call = partial(bed.sql, statement)
        if not statement:
            whole = bed.query
        asked = {"sql": whole, **calls}
        times = _take_turns(asked, count)
        yield Figures(bed.num_rows, name, "none", times, _stages(bed, statement, count))


def _take_turns(calls: dict[str, Call], count: int) -> dict[str, list[tuple[float, float]]]:
    """Time every call for every query, by clock and processor, in another order each time."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    names = list(calls)
    for call in calls.values():
        call(0)
    for number in range(count):
        for name in np.roll(names, number):
            start, used = perf_counter(), process_time()
            calls[name](number)
            spent = process_time() - used
            times[name].append((1e3 * (perf_counter() - start), 1e3 * spent))
    return times


def _stages(bed: Bed, statement: str, count: int) -> tuple[float, ...]:
    """Return medians of the stages of a statement; nothing where there is none."""
    if not statement:
        return ()
    found = [bed.stages(statement, number) for number in range(min(count, 20))]
    return tuple(float(value) for value in np.median(found, axis=0))


def _ids(table: Any) -> np.ndarray:
    return (table.column("video_id").to_numpy() << 32) | table.column("frame").to_numpy()


def _recall(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
    return float(np.mean(shares))
