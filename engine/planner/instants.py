"""What a statement reads of an instant: the day or hour that it lies in, or parts of its date.

Where something never falls as time goes on it is `rising`: the day, the hour, the year. Other parts
come again, as the hour of a day does, but stay as they are for a `period`.
"""

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS: Final[Mapping[str, int]] = {  # seconds for which a part stays as it is, at the least
    "SECOND": 1, "MINUTE": _MINUTE, "HOUR": _HOUR, "DAY": _DAY, "DOW": _DAY, "ISODOW": _DAY,
    "DAYOFWEEK": _DAY, "DAYOFWEEKISO": _DAY, "DOY": _DAY, "DAYOFYEAR": _DAY, "WEEK": 7 * _DAY,
    "MONTH": 28 * _DAY, "QUARTER": 90 * _DAY,
}  # fmt: skip
_PARTS: Final[Mapping[type[exp.Expr], int]] = {
    exp.Second: 1, exp.Minute: _MINUTE, exp.Hour: _HOUR, exp.Day: _DAY, exp.DayOfMonth: _DAY,
    exp.DayOfWeek: _DAY, exp.DayOfWeekIso: _DAY, exp.DayOfYear: _DAY, exp.Week: 7 * _DAY,
    exp.WeekOfYear: 7 * _DAY, exp.Month: 28 * _DAY, exp.Quarter: 90 * _DAY,
}  # fmt: skip
_TRUNCATED: Final = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
READ: Final = (*_PARTS, exp.Year, exp.Extract, exp.TimestampTrunc, exp.Date)  # of one instant each
NUMBERS: Final = (*_PARTS, exp.Year, exp.Extract)


def rising(node: exp.Expr) -> exp.Expr | None:
    """The instant of which a node says something that never falls as time goes on, or None."""
    if type(node) is exp.Cast:
        return node.this.unnest() if node.to.this == exp.DType.DATE else None
    if isinstance(node, exp.TimestampTrunc):
        return instant_of(node) if node.text("unit").upper() in _TRUNCATED else None
    if isinstance(node, exp.Extract):
        return instant_of(node) if node.name.upper() == "YEAR" else None
    return instant_of(node) if isinstance(node, (exp.Year, exp.Date)) else None


def period_of(node: exp.Expr) -> int | None:
    """For how many seconds at least a part of an instant stays as it is; None of anything else."""
    if isinstance(node, exp.Extract):
        return _UNITS.get(node.name.upper())
    return _PARTS.get(type(node)) if instant_of(node) is not None else None


def instant_of(node: exp.Expr) -> exp.Expr | None:
    """The instant that a function of `READ` reads; None where it says more than that."""
    if not isinstance(node, READ):
        return None
    extract = isinstance(node, exp.Extract)
    known = {"this", "expression"} if extract else {"this", "unit"}
    if any(value and name not in known for name, value in node.args.items()):
        return None
    found: exp.Expr = (node.expression if extract else node.this).unnest()
    return found
