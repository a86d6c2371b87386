"""Times of cues as files write them: `01:02:03,456 --> 01:02:05,000`."""

import re
from typing import Final

_LONGEST = 400  # of a row with times: a longer one is text
_NUMBER = r"-?\d{1,9}"


def _time(name: str) -> str:
    return (
        rf"(?:(?P<{name}_h>{_NUMBER}):)?(?P<{name}_m>{_NUMBER}):(?P<{name}_s>{_NUMBER})"
        rf"(?:[,.](?P<{name}_f>{_NUMBER}))?"
    )


TIMING: Final = re.compile(rf"\s*{_time('start')}\s*--?>\s*{_time('stop')}(?!\d)")
_LIKE_TIMES = re.compile(r"\s*-?\d{1,9}:\S{0,40}\s*--?>|\s*-->\s*\d")


def begins_like_times(row: str) -> bool:
    """Whether a row is meant as the times of a cue, readable or not."""
    return "->" in row and len(row) <= _LONGEST and _LIKE_TIMES.match(row) is not None


def seconds_of(found: re.Match[str], side: str) -> float:
    """Return one side of a row of times in seconds; a minus before any part holds for all."""
    parts = [found[f"{side}_{part}"] or "0" for part in "hmsf"]
    hours, minutes, seconds = (abs(int(part)) for part in parts[:3])
    thousandths = int(parts[3].lstrip("-")[:3])
    total = hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    return -total if any(part.startswith("-") for part in parts) else total
