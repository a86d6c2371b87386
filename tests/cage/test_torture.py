"""The harness of `python -m tests.torture.sql` sees harm where there is some."""

from dataclasses import replace

import pytest

from engine.cage.sandbox import Sandbox
from tests.asking import Videos
from tests.torture.sql import Outcome, attack, both_ways, report
from tests.torture.statements import attacks

MEMORY, DEADLINE = 300_000_000, 2.0
GOOD = Outcome("SELECT 1", "planned", "rows", "1 rows", 0.1, 1 << 20, 0.1)


def test_there_are_hundreds_and_none_twice() -> None:
    listed = list(attacks())
    assert len(set(listed)) == len(listed) >= 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peak_bytes": 600 << 20}, "took 600 MiB"),
        ({"seconds": 8.0}, "took 8.0 s"),
        ({"ended": "!KeyError", "said": "a"}, "KeyError: a"),
        ({"said": "two\nlines"}, "several lines"),
    ],
)
def test_harm_is_told(
    change: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = replace(GOOD, **change)  # type: ignore[arg-type]
    assert said in "".join(bad.faults(MEMORY, DEADLINE))
    assert report([GOOD, bad], MEMORY, DEADLINE) == 1
    assert "✗ 1 did harm" in capsys.readouterr().out
    assert report([GOOD], MEMORY, DEADLINE) == 0


def test_what_is_held_is_seen(sandbox: Sandbox) -> None:
    held = []

    def work() -> None:
        held.append(bytearray(b"x" * (64 << 20)))
        sandbox.run("SELECT list(range) FROM range(3000000)", {}, max_rows=1)
        raise KeyError

    outcome = attack(sandbox, "SELECT 1", "planned", work)  # type: ignore[arg-type]
    assert outcome.ended == "!KeyError"
    assert outcome.peak_bytes > 64 << 20


@pytest.mark.parametrize(
    "sql", ["SELECT repeat('a', 10000000000)", "SELECT '\ud800'", "SELECT '\\xFF'::BLOB::VARCHAR"]
)
def test_a_few_attacks(sql: str, shared_videos: Videos, sandbox: Sandbox) -> None:
    for outcome in both_ways(shared_videos, sandbox, sql):
        assert outcome.faults(1_000_000_000, 60.0) == []
