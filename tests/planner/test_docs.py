"""The dialect's page says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from engine.cage.sandbox import Sandbox
from engine.planner.optimize import RULES
from engine.planner.relations import FORMS, RELATIONS
from engine.search.moments import Step
from engine.search.options import Options
from engine.sql import run_sql
from tests.actions import TwoSecondActions
from tests.asking import Videos, as_asked
from tests.detections import TwoSecondDetections

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "sql.md").read_text()
EXAMPLES = [
    statement
    for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for statement in re.split(r";\n|\n(?=SELECT \* FROM moments WHERE)", block.strip("\n;"))
]


def test_examples_run(videos: Videos, sandbox: Sandbox) -> None:
    """One after the other, as they stand on the page."""
    for sql in EXAMPLES:
        context = videos.context(sandbox)
        context.actions = TwoSecondActions
        context.detections = TwoSecondDetections
        context.look = as_asked
        result = run_sql(context, sql, max_rows=1000)
        assert result.table.column_names, sql


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("name", [*(f.name for f in fields(Options))])
def test_every_option_is_told(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_is_told_and_lives_in_a_file_of_its_name(rule: object) -> None:
    name = rule.__name__  # type: ignore[attr-defined]
    assert f"`{name}`" in PAGE
    assert rule.__module__ == f"engine.planner.rules.{name}"


@pytest.mark.parametrize("name", [*RELATIONS])
def test_every_column_is_told(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}"))
    assert [column for column in RELATIONS[name].names if column not in row] == []


def test_every_function_and_clause_is_told() -> None:
    for name in FORMS:
        assert name.upper() in PAGE
    for field in fields(Step):
        word = {"text": "THEN", "hold_seconds": "HOLDS FOR"}.get(field.name, field.name[:3].upper())
        assert word in PAGE
