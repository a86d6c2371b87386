"""A strategy's options, each read as what it is; anything else is refused by name."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from engine.errors import UsageError, unknown


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """What was given to one strategy."""

    strategy: str
    given: Mapping[str, Any]

    @classmethod
    def of(
        cls, strategy: str, given: Mapping[str, Any], allowed: Iterable[str]
    ) -> "StrategyOptions":
        """Take what was given; an option that the strategy does not have is an error."""
        known = tuple(allowed)
        for option in given:
            if option not in known:
                raise UsageError(unknown(f"option of {strategy}", option, known))
        return cls(strategy, given)

    def number(
        self, name: str, usual: float, *, least: float = -math.inf, most: float = math.inf
    ) -> float:
        """A number within bounds, infinity among them, or what is usual."""
        value = _number(self.given.get(name, usual))
        if not least <= value <= most:  # nor is not-a-number
            raise self._refused(name, f"a number{_bounds(least, most)}")
        return value

    def count(self, name: str, usual: int, *, least: int = 0) -> int:
        """A whole number, or what is usual."""
        value = _number(self.given.get(name, usual))
        if not (value.is_integer() and value >= least):
            raise self._refused(name, f"a whole number{_bounds(least, math.inf)}")
        return int(value)

    def flag(self, name: str, *, usual: bool) -> bool:
        """True or false, or what is usual."""
        value = self.given.get(name, usual)
        if not isinstance(value, bool):
            raise self._refused(name, "true or false")
        return value

    def text(self, name: str, usual: str | None = None) -> str | None:
        """A text, which a number may stand for, or what is usual."""
        value = self.given.get(name)
        if value is None:
            return usual
        if isinstance(value, bool) or not isinstance(value, str | Real):
            raise self._refused(name, "a name or a number")
        return str(value)

    def _refused(self, name: str, allowed: str) -> UsageError:
        told = repr(self.given[name])
        shown = told if len(told) <= 80 else f"{told[:77]}…"
        return UsageError(f"option {name} of {self.strategy} is {shown}; allowed: {allowed}")


def _number(value: Any) -> float:
    """As a float; what is no number is not-a-number."""
    return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)


def _bounds(least: float, most: float) -> str:
    if math.isfinite(most):
        return f" from {least:g} to {most:g}"
    return f", {least:g} or more" if math.isfinite(least) else ""
