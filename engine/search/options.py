"""Options of one query: the engine's settings, overridden by the statement's OPTIONS."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, Final, Literal, get_args

from engine.errors import UsageError, unknown
from engine.video.limits import MOST_FPS
from engine.vision.strategies import check_strategy

_BELOW: Final[Mapping[str, float]] = {"max_drift": 1.0, "false_match_rate": 0.5}
_AT_MOST: Final[Mapping[str, float]] = {"fps": MOST_FPS}
_COUNTS: Final = 2**63


@dataclass(frozen=True, slots=True)
class Options:
    """How missing frames are embedded, how exact an answer must be, how long it may take."""

    fps: float | None = None  # None: as the engine is set
    strategy: str | None = None
    max_drift: float | Literal["none"] | None = None  # "none": no bound
    exact: bool | None = None  # None: the order of a top-k, True: cut-offs too, False: neither
    refine_frames: int | None = None  # None: as many as it takes
    refine_seconds: float | None = (
        None  # None: as the engine is set, with `exact` as long as needed
    )
    deepen_gops: int | None = None  # of coarse videos, that a query embeds at most; None: 16
    budget_seconds: float | None = None
    budget_frames: int | None = None  # embedded or made exact for it
    embed_seconds: float | None = None  # of it for embedding; None: as the engine is set
    false_match_rate: float = 0.01
    gap_seconds: float = 1.0

    @property
    def bounds_refining(self) -> bool:
        """Whether it is said how many rows may be made exact: so many, so long, or all."""
        given = self.refine_frames, self.refine_seconds, self.budget_seconds, self.budget_frames
        return self.exact is True or given != (None,) * len(given)

    def override(self, given: Mapping[str, Any]) -> "Options":
        """Return the options with some replaced; names and types are checked."""
        kinds = {name: (get_args(kind) or (kind,))[0] for name, kind in _types().items()}
        checked = {}
        for name, value in given.items():
            if name.lower() not in kinds:
                raise UsageError(unknown("option", name, kinds))
            checked[name.lower()] = _check(name.lower(), value, kinds[name.lower()])
        return replace(self, **checked)


def _types() -> dict[str, Any]:
    return {field.name: field.type for field in fields(Options)}


def _check(name: str, value: Any, kind: type) -> Any:
    if name == "max_drift" and value == "none":
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    below, most = _BELOW.get(name, inf), _AT_MOST.get(name, inf)
    if kind is float and number and 0 < value < below and value <= most:
        return float(value)
    if kind is int and number and 0 <= value < _COUNTS and int(value) == value:
        return int(value)
    if name == "strategy" and isinstance(value, str):
        check_strategy(value)
        return value
    if kind is bool and isinstance(value, bool):
        return value
    limit = f" and below {below:g}" if below < inf else f", at most {most:g}" if most < inf else ""
    wanted = {float: f"a number above 0{limit}", int: "a count below 2^63", bool: "true or false"}
    raise UsageError(f"option {name} takes {wanted.get(kind, 'a text')}, got {value!r}")
