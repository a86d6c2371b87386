"""Hostile SQL by the hundred: none takes the host, and after each the next statement works.

`python -m tests.torture.sql` runs every statement as a user's on a small store, and those that the
planner refuses once more in the sandbox alone. It prints what became of them, with the peak of
memory (this process, the workers and the memory they share, above the start) and the time of each.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

import pyarrow as pa

from engine.cage.sandbox import Sandbox, to_bytes
from engine.errors import EngineError, LimitError
from engine.sql import run_sql
from tests.asking import Videos
from tests.torture.statements import attacks

ROOM_BYTES = 200 << 20  # above a statement's limit
ROOM_SECONDS = 5.0  # above its deadline, on a machine that does other things too
MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a statement."""

    sql: str
    way: str  # as a user's statement, or in the sandbox alone
    ended: str  # rows, or the kind of error
    said: str
    seconds: float
    peak_bytes: int
    next_seconds: float

    def faults(self, memory: int, deadline: float) -> list[str]:
        """What must not be."""
        found = []
        if self.peak_bytes > memory + ROOM_BYTES:
            found.append(f"took {self.peak_bytes >> 20} MiB")
        if self.seconds > deadline + ROOM_SECONDS:
            found.append(f"took {self.seconds:.1f} s")
        if self.ended.startswith("!"):
            found.append(f"{self.ended[1:]}: {self.said}")
        if "\n" in self.said:
            found.append("an error of several lines")
        return found


class Watch:
    """The most memory that this process, its workers and what they share held, above the start."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._over = sandbox, Event()
        self._start = self._held()
        self.most = 0

    def __enter__(self) -> "Watch":
        self._thread = Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.004):
            self.most = max(self.most, self._held() - self._start)

    def _held(self) -> int:
        pids = ["self", *self._sandbox.pids()]
        return sum(_anonymous(pid) for pid in pids) + _shared()


def _anonymous(pid: int | str) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * 4096


def _shared() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:"))


def attack(sandbox: Sandbox, sql: str, way: str, work: Callable[[], pa.Table]) -> Outcome:
    """Run a statement under watch, then a harmless one."""
    begun = perf_counter()
    with Watch(sandbox) as watch:
        try:
            table = work()
            ended, said = "rows", f"{table.num_rows} rows"
            del table
        except LimitError as error:
            ended, said = error.kind, str(error)
        except EngineError as error:
            ended, said = type(error).__name__, str(error)
        except Exception as error:  # noqa: BLE001, what must not be
            ended, said = f"!{type(error).__name__}", str(error)[:300]
    seconds = perf_counter() - begun
    begun = perf_counter()
    if sandbox.run("SELECT 6 * 7 AS a", {}, max_rows=1).to_pylist() != [{"a": 42}]:
        ended = "!next"
    return Outcome(sql, way, ended, said, seconds, watch.most, perf_counter() - begun)


def main() -> int:
    """Run all attacks; exit code 1 where one did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", default="300MB")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--every", type=int, default=1, help="run each n-th statement alone")
    parser.add_argument("--out", type=Path, help="write every outcome here, one JSON a line")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(memory=given.memory, result="100MB", seconds=given.seconds) as sandbox,
    ):
        videos = Videos(Path(folder) / "data")
        with videos.store:
            sandbox.run("SELECT 1", {}, max_rows=1)
            outcomes = [
                outcome
                for sql in list(attacks())[:: given.every]
                for outcome in both_ways(videos, sandbox, sql)
            ]
    if given.out:
        lines = [json.dumps({**asdict(item), "sql": item.sql[:300]}) for item in outcomes]
        given.out.write_text("\n".join(lines) + "\n")
    return report(outcomes, to_bytes(given.memory), given.seconds)


def both_ways(videos: Videos, sandbox: Sandbox, sql: str) -> list[Outcome]:
    """Run a statement as a user's; where the planner refuses it, in the sandbox alone too."""

    def planned() -> pa.Table:
        return run_sql(videos.context(sandbox), sql, max_rows=MAX_ROWS).arrow()

    first = attack(sandbox, sql, "planned", planned)
    if first.ended not in ("ParseError", "BindError"):
        return [first]
    alone = attack(sandbox, sql, "alone", lambda: sandbox.run(sql, {}, max_rows=MAX_ROWS))
    return [first, alone]


def report(outcomes: list[Outcome], memory: int, deadline: float) -> int:
    """Print what became of the statements; return 1 where one did harm."""
    say: Callable[[Any], object] = lambda text: sys.stdout.write(f"{text}\n")  # noqa: E731
    statements = len({item.sql for item in outcomes})
    say(
        f"{statements} statements, {len(outcomes)} runs: {dict(Counter(o.ended for o in outcomes))}"
    )
    most = max(outcomes, key=lambda item: item.peak_bytes)
    longest = max(outcomes, key=lambda item: item.seconds)
    following = max(outcomes, key=lambda item: item.next_seconds)
    say(f"most memory {most.peak_bytes >> 20} MiB over the start: {most.sql[:80]}")
    say(f"longest {longest.seconds:.2f} s: {longest.sql[:80]}")
    say(f"longest wait of the next statement {following.next_seconds:.2f} s")
    harmful = [(item, item.faults(memory, deadline)) for item in outcomes]
    harmful = [(item, faults) for item, faults in harmful if faults]
    for item, faults in harmful:
        say(f"✗ {'; '.join(faults)}: {item.sql[:120]!r} ({item.way})")
    say(f"{'✗' if harmful else '✓'} {len(harmful)} did harm")
    return 1 if harmful else 0


if __name__ == "__main__":
    sys.exit(main())
