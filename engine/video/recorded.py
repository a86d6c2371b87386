"""When a video was recorded: as its container says, or as its name does by a pattern."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Self

from engine.errors import UsageError

EARLIEST: Final = datetime(1971, 1, 1)  # clocks that were never set say 1904 or 1970
_KEYS = ("com.apple.quicktime.creationdate", "creation_time", "DATE", "date")
_FIELDS: Final[Mapping[str, str]] = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "j": r"(?P<j>\d{3})",
    "H": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,6})",
    "z": r"(?P<z>Z|[+-]\d{2}:?\d{2})",
    "s": r"(?P<s>\d{9,10})",
}
_DAY = ({"s"}, {"Y", "m", "d"}, {"y", "m", "d"}, {"Y", "j"}, {"y", "j"})


@dataclass(frozen=True, slots=True)
class NamePattern:
    """`%Y%m%d_%H%M%S`, looked for anywhere in a name; a time without a zone is a local one."""

    text: str
    expression: re.Pattern[str]

    @classmethod
    def read(cls, text: str) -> Self:
        """Check a pattern; what is no field stands for itself."""
        parts: list[str] = []
        for literal, key in re.findall(r"([^%]+)|%(.)", text):
            if literal or key == "%":
                parts.append(re.escape(literal or key))
            elif key not in _FIELDS:
                allowed = " ".join(f"%{name}" for name in _FIELDS)
                raise UsageError(f"pattern {text!r} has %{key}; allowed: {allowed}")
            elif f"(?P<{key}>" in "".join(parts):
                raise UsageError(f"pattern {text!r} has %{key} twice")
            else:
                parts.append(_FIELDS[key])
        given = set(re.findall(r"%(.)", text))
        if not any(needed <= given for needed in _DAY) or text.replace("%%", "").endswith("%"):
            raise UsageError(f"pattern {text!r} gives no day; expected one as %Y-%m-%d_%H-%M-%S")
        # digits beside it would make another number of what is read
        return cls(text, re.compile(rf"(?<!\d){''.join(parts)}(?!\d)"))

    def time_of(self, name: str) -> datetime | None:
        """Return the instant that a name says, as UTC without a zone; None where it says none."""
        for found in self.expression.finditer(name):
            try:
                when = _instant({key: text for key, text in found.groupdict().items() if text})
            except (ValueError, OverflowError):
                continue  # a 13th month
            if when >= EARLIEST:
                return when
        return None


def container_time(*metadata: Mapping[str, str]) -> datetime | None:
    """Return when a container says that it was made, as UTC without a zone."""
    for key in _KEYS:
        for told in metadata:
            when = _iso(told.get(key, ""))
            if when is not None and when >= EARLIEST:
                return when
    return None


def _iso(text: str) -> datetime | None:
    """Read an instant with its zone, or UTC where it names none; a day alone is no instant."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if len(text.strip()) <= len("2026-03-01"):
        return None
    return _utc(when if when.tzinfo else when.replace(tzinfo=UTC))


def _instant(given: Mapping[str, Any]) -> datetime:
    if "s" in given:
        return _utc(datetime.fromtimestamp(int(given["s"]), UTC))
    year = int(given["Y"]) if "Y" in given else 2000 + int(given["y"])
    clock = time(
        int(given.get("H", 0)),
        int(given.get("M", 0)),
        int(given.get("S", 0)),
        int(given.get("f", "0").ljust(6, "0")),
    )
    if "j" in given:
        day = date(year, 1, 1) + timedelta(days=int(given["j"]) - 1)
    else:
        day = date(year, int(given["m"]), int(given["d"]))
    when = datetime.combine(day, clock)
    if "z" in given:
        zone = "+00:00" if given["z"] == "Z" else given["z"]
        return _utc(datetime.fromisoformat(when.isoformat() + zone))
    return _utc(when.astimezone())


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(tzinfo=None)
