"""Statements that are meant to harm: each ends with one line, and the next one works."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import LimitError
from tests.waiting import until

DEEP = "(repeat('[', 100000) || repeat(']', 100000))::JSON"
ATTACKS = [  # what it is, what it ends with
    ("SELECT array_to_string(range(100000000), ',')", {"memory"}),
    ("SELECT lpad('a', 2000000000, 'b')", {"memory", "time"}),
    ("SELECT regexp_replace(repeat('a', 99999999), 'a', repeat('b', 9), 'g')", {"memory", "time"}),
    ("SELECT repeat('a', 500000000)", {"memory", "bytes"}),
    ("SELECT repeat('a', 40000000) FROM range(3)", {"memory", "bytes"}),
    ("SELECT list(range) FROM range(1000000000)", {"memory"}),
    ("SELECT list_sort(range(1000000000))", {"memory"}),
    (f"SELECT {DEEP}::VARIANT", {"crash"}),
    ("SELECT sum(range) FROM range(1000000000000)", {"time"}),
    ("SELECT count(*) FROM range(100000) a, range(100000) b, range(100000) c", {"time"}),
    ("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SELECT count(*) FROM t",
     {"time", "memory"}),
    ("SELECT range FROM range(100000000) ORDER BY hash(range)", {"memory", "time", "rows"}),
    ("FROM range(1000000000)", {"rows"}),
]  # fmt: skip
MEMORY = 300_000_000


@pytest.fixture(scope="module")
def cage() -> Iterator[Sandbox]:
    """A small one, so that attacks end soon."""
    with Sandbox(memory="300MB", result="64MB", seconds=0.5) as opened:
        yield opened


@pytest.fixture(scope="module")
def patient() -> Iterator[Sandbox]:
    """One whose time a busy machine does not reach, for what something else ends."""
    with Sandbox(memory="300MB", result="64MB", seconds=60) as opened:
        yield opened


class Watch:
    """The most memory that a cage's processes held while it was watched."""

    def __init__(self, cage: Sandbox) -> None:
        self.most = 0
        self._cage, self._over = cage, Event()
        self._thread = Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            held = sum(map(_resident, self._cage.pids()))
            self.most = max(self.most, held)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


@pytest.mark.skipif(sys.platform != "linux", reason="no hard limit on memory elsewhere")
@pytest.mark.parametrize(("sql", "kinds"), ATTACKS, ids=[sql[:40] for sql, _ in ATTACKS])
def test_an_attack_ends_alone(cage: Sandbox, patient: Sandbox, sql: str, kinds: set[str]) -> None:
    cage = cage if "time" in kinds else patient
    with Watch(cage) as watch, pytest.raises(LimitError) as caught:
        cage.run(sql, {}, max_rows=10_000)
    assert caught.value.kind in kinds
    assert "\n" not in str(caught.value)
    assert watch.most < MEMORY + (200 << 20)
    assert until(lambda: answers(cage)) == [{"a": 1}]


def answers(cage: Sandbox) -> list[dict[str, int]]:
    """What a statement gives; nothing where the machine is too busy for it."""
    with suppress(LimitError):
        return cage.run("SELECT 1 AS a", {}, max_rows=1).to_pylist()
    return []


def test_checking_a_statement_is_bounded_too(cage: Sandbox) -> None:
    """Binding computes what is constant."""
    with pytest.raises(LimitError):
        cage.check("SELECT array_to_string(range(100000000), ',')::ENUM('a')", {})
    assert cage.check("SELECT 1 AS a", {}).names == ["a"]
