"""At which instants a video is embedded, as a value; its text is what catalog and footers hold."""

from dataclasses import dataclass
from math import isfinite
from typing import Self

from engine.errors import UsageError

_PREFIX = "fps="


@dataclass(frozen=True, slots=True, order=True)
class Sampling:
    """So many frames a second, counted from a video's first frame.

    The rate has six digits, as it is stored, so that what was read equals what was written.

    >>> str(Sampling(fps=30000 / 1001))
    'fps=29.97'
    >>> Sampling.parse("fps=29.97") == Sampling(fps=30000 / 1001)
    True
    """

    fps: float

    def __post_init__(self) -> None:
        if not (isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"fps {self.fps:g}; allowed: more than 0")
        object.__setattr__(self, "fps", float(f"{self.fps:g}"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text that is stored."""
        if not text.startswith(_PREFIX):
            raise UsageError(f"sampling {text!r}; allowed: {_PREFIX}RATE")
        return cls(float(text.removeprefix(_PREFIX)))

    def __str__(self) -> str:
        """Return the text that is stored."""
        return f"{_PREFIX}{self.fps:g}"
