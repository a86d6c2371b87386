"""Each rule against its fixture: what it makes of a plan, and that both plans answer alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.base import read_table
from engine.planner.bind import bind
from engine.planner.explain import show
from engine.planner.logical import Plan
from engine.planner.lower import Build
from engine.planner.optimize import RULES, optimize
from engine.planner.parse import parse
from tests.asking import Videos

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = {rule.__name__: rule for rule in RULES}


class Case(NamedTuple):
    """One entry of a fixture; `first` names the rules that were applied to get its input."""

    rule: str
    sql: str
    first: tuple[str, ...]
    before: str
    after: str


def read_cases() -> list[Case]:
    """Read all fixtures."""
    cases = []
    for path in sorted(FIXTURES.glob("*.txt")):
        for entry in path.read_text().strip().split("\n\n"):
            head, before, after = entry.split("\n--\n")
            sql, *first = head.split("\n-- after ")
            cases.append(
                Case(path.stem, sql, tuple(" ".join(first).split()), before, after.strip("\n"))
            )
    return cases


def answer(plan: Plan, sql: str, videos: Videos, sandbox: Sandbox) -> list[dict[str, object]]:
    """Run a plan; the rows in a fixed order."""
    columns = pa.schema([])
    names = {item.name: Build(columns, 0).operator(item.plan).schema for item in plan.inputs}
    columns = sandbox.check(plan.query.sql("duckdb"), names)
    rows = read_table(Build(columns, 10_000).operator(plan), videos.context(sandbox)).to_pylist()
    for row in rows:
        row.update({name: repr(value) for name, value in row.items() if isinstance(value, list)})
    return rows if "ORDER BY" in sql else sorted(rows, key=repr)


def apply(plan: Plan, names: Sequence[str]) -> Plan:
    """Apply some rules until nothing changes."""
    return optimize(plan, [NAMES[name] for name in names])[0]


CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.sql[:60]}" for case in CASES])
def test_rule(case: Case, shared_videos: Videos, sandbox: Sandbox) -> None:
    before = apply(bind(parse(case.sql), false_match_rate=0.001), case.first)
    assert show(before) == case.before
    after = apply(before, [case.rule])
    assert show(after) == case.after
    assert answer(after, case.sql, shared_videos, sandbox) == [
        pytest.approx(row, abs=1e-6) for row in answer(before, case.sql, shared_videos, sandbox)
    ]


def test_every_rule_has_a_fixture_that_it_changes() -> None:
    assert {case.rule for case in CASES if case.before != case.after} == set(NAMES)
