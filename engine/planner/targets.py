"""What AI_FILTER is to promise: `recall := 0.95` and its kind."""

from collections.abc import Sequence

from sqlglot import exp

from engine.errors import UsageError, unknown
from engine.planner.relations import FORMS
from engine.search.guarantee import Targets

_NAMES = (*Targets.__slots__, "max_calls")


def read_targets(given: Sequence[exp.Expr]) -> tuple[Targets, int | None]:
    """Return the targets and how many calls there may be at most; UsageError for what is none."""
    told: dict[str, float] = {}
    for node in given:
        value = node.expression if isinstance(node, exp.PropertyEQ) else None
        if not isinstance(value, exp.Literal) or value.is_string:
            raise UsageError(f"expected {FORMS['ai_filter']}, got {node.sql('duckdb')}")
        name = node.name.lower()
        if name not in _NAMES:
            raise UsageError(unknown("argument of AI_FILTER", name, _NAMES))
        if name in told:
            raise UsageError(f"{name} is given twice")
        told[name] = float(value.this)
    most = told.pop("max_calls", None)
    if most is not None and (most < 1 or most != int(most)):
        raise UsageError(f"max_calls is {most:g}; allowed: whole numbers from 1")
    return Targets(**told), None if most is None else int(most)
