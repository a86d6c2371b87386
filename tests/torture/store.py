"""Attacks on a store: processes killed, files damaged, catalogs and logs lost or old."""

import atexit
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from engine.errors import StoreError
from engine.storage.check import check
from engine.storage.repair import repair
from engine.storage.store import Store
from tests.storage import scenario
from tests.storage.test_crash import SCENARIO, check_killed, state_of
from tests.torture.registry import attack

UNSAID = "lock"  # holds nothing that could be damaged: empty while nobody has the folder


@cache
def _child() -> "subprocess.Popen[str]":
    """The process whose children run the scenario and are killed."""
    process = subprocess.Popen(
        [sys.executable, str(SCENARIO)],
        env={"PYTHONPATH": str(SCENARIO.parents[2]), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()  # waits for it and closes its pipes


def _live(folder: Path, point: str, count: int) -> int:
    """Run the scenario (or a repair) in a process until it ends or is killed."""
    process = _child()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{folder}\t{point}\t{count}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@cache
def _undisturbed() -> tuple[Path, dict[str, Any], dict[str, int]]:
    """A whole store that nobody holds, the state that it shows, and its commit points."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    killer = scenario.Killer("none", 0)
    with scenario.open_store(folder / "whole", killer.reached) as store:
        scenario.run(store)
        state = state_of(store, scenario)
    return folder / "whole", state, dict(killer.passed)


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[Store, bool]]:
    """Open a store, repairing it where opening says so; tell whether it had to be."""
    repaired = False
    try:
        store = scenario.open_store(folder)
    except StoreError as error:
        if "store repair" not in str(error):
            raise
        repair(folder)
        store, repaired = scenario.open_store(folder), True
    with store:
        yield store, repaired


def _ends_whole(store: Store) -> None:
    """Going on from here leads where an undisturbed run ends."""
    scenario.run(store)
    state, expected = state_of(store, scenario), _undisturbed()[1]
    for name, value in expected.items():
        assert state[name] == value, f"{name}: {str(state[name])[:300]} is not {str(value)[:300]}"
    problems = store.verify()
    assert not problems, problems


def _contents(folder: Path, but: Iterable[Path] = ()) -> set[bytes]:
    """What is in the finished parts, wherever they lie, but for those named."""
    parts = {path for path in folder.rglob("*.parquet") if path.name[0] != "."}
    return {path.read_bytes() for path in parts.difference(but)}


def _superseded(root: Path, copy: Path) -> list[Path]:
    """The files that the catalog, as it stands, records as replaced by others and to be deleted."""
    copy.mkdir()
    for path in root.glob("catalog.duckdb*"):
        shutil.copy(path, copy)
    try:
        rows = _discarded(copy / "catalog.duckdb")
    except duckdb.IOException:  # its log is of another state, and counts for nothing
        (copy / "catalog.duckdb.wal").unlink()
        rows = _discarded(copy / "catalog.duckdb")
    return [root / path for path in rows]


def _discarded(catalog: Path) -> list[str]:
    with duckdb.connect(catalog) as connection:
        try:
            return [path for (path,) in connection.execute("SELECT path FROM discarded").fetchall()]
        except duckdb.CatalogException:  # it ends before there was a table
            return []


def _done(folder: Path) -> list[str]:
    log = folder.with_suffix(".done")
    return log.read_text().splitlines() if log.exists() else []


@attack("store: killed", count=1000, few=4)
def killed(seed: int, folder: Path) -> str:
    """Ingest, replace, refine, embed anew, build, compact: killed up to three times on the way."""
    draw, root = random.Random(seed), folder / "store"
    points = _undisturbed()[2]
    for _ in range(draw.randint(1, 3)):
        if draw.random() < 0.5:
            point = draw.choice(sorted(points))
            _live(root, point, draw.randint(1, points[point]))
        else:
            _live(root, "time", draw.randint(1_000, 900_000))
        if not root.exists():
            return "before it began"
        with scenario.open_store(root) as store:
            if store.catalog.spaces():
                check_killed(store, _done(root), scenario)
            if draw.random() < 0.3:
                _ends_whole(store)
                return "went on"
    with scenario.open_store(root) as store:
        _ends_whole(store)
    return "went on after several"


@attack("store: a repair killed", count=100, few=2)
def repair_killed(seed: int, folder: Path) -> str:
    """A lost catalog is rebuilt by processes that are killed while they do."""
    draw, root = random.Random(seed), folder / "store"
    shutil.copytree(_undisturbed()[0], root)
    kept = _contents(root)
    (root / "catalog.duckdb").unlink()
    if draw.random() < 0.5:
        shutil.rmtree(root / "published")
    for _ in range(draw.randint(1, 3)):
        _live(root, "repair", draw.randint(1_000, 300_000))
    repair(root)
    assert kept <= _contents(root)
    with scenario.open_store(root) as store:
        _ends_whole(store)
    return "repaired"


@attack("store: a file damaged", count=500, few=8)
def damaged(seed: int, folder: Path) -> str:
    """One bit flipped, a file cut short or deleted: found, never answered from, healed."""
    draw, root = random.Random(seed), folder / "store"
    shutil.copytree(_undisturbed()[0], root)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != UNSAID)
    kinds = sorted({path.suffix for path in files})
    kind = draw.choice(kinds)
    victim = draw.choice([path for path in files if path.suffix == kind])
    how = draw.choice(("flipped", "cut", "deleted"))
    content = victim.read_bytes()
    if how == "flipped":
        at = draw.randrange(len(content))
        victim.write_bytes(
            content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
        )
    elif how == "cut":
        victim.write_bytes(content[: draw.randrange(len(content))])
    else:
        victim.unlink()
    assert check(root).problems, f"{victim.relative_to(root)} {how}: not found"
    try:
        store, repaired = scenario.open_store(root), False
        with store:
            _answers_are_true(store)
            _ends_whole(store)
    except StoreError as error:
        if "store repair" not in str(error):
            raise
        repair(root)
        repaired = True
        with scenario.open_store(root) as store:
            _answers_are_true(store)
            _ends_whole(store)
    problems = check(root).problems
    assert not problems, problems
    return f"{victim.suffix[1:]} {how}: {'repaired' if repaired else 'healed'}"


def _answers_are_true(store: Store) -> None:
    """Whatever is seen is what was written."""
    state = _undisturbed()[1]
    true = {
        (row["video_id"], row["frame"], row["exact"]): row["embedding"] for row in state["rows"]
    }
    if not store.catalog.spaces():
        return
    names = {video.video_id: video.name for video in store.catalog.videos()}
    rows = store.rows(scenario.SPACE.key, columns=["video_id", "frame", "exact", "embedding"])
    for row in rows.to_pylist():
        if names[row["video_id"]] == "c":  # its first content, which has no rows in the end
            continue
        expected = true.get((names[row["video_id"]], row["frame"], row["exact"]))
        # an approximate row may be seen again where the exact one is lost
        assert expected == row["embedding"] or not row["exact"], row
    query = scenario.vectors(1, 7)[0]
    assert abs(store.search(scenario.SPACE.key, query, 99).scores).max(initial=0) <= 1.01


@attack("store: an old or cut log", count=200, few=4)
def log_lost(seed: int, folder: Path) -> str:
    """A killed store whose log is cut or gone, or whose catalog is older: no part is lost."""
    draw, root = random.Random(seed), folder / "store"
    _live(root, "time", draw.randint(50_000, 900_000))
    if not (root / "catalog.duckdb").exists():
        return "before it began"
    log, how = root / "catalog.duckdb.wal", draw.choice(("cut", "gone", "older catalog"))
    if how == "older catalog":
        older = (root / "catalog.duckdb").read_bytes()
        _live(root, "time", draw.randint(50_000, 900_000))
        (root / "catalog.duckdb").write_bytes(older)
        log.unlink(missing_ok=True)
    elif how == "gone":
        log.unlink(missing_ok=True)
    elif log.exists():
        content = log.read_bytes()
        log.write_bytes(content[: draw.randrange(len(content) + 1)])
    kept = _contents(root, _superseded(root, folder / "looked at"))
    with _opened(root) as (store, repaired):
        assert kept <= _contents(root)
        _answers_are_true(store)
        _ends_whole(store)
    return f"{how}: {'repaired' if repaired else 'opened'}"
