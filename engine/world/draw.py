"""Random choices that are the same on every platform and under every Python: splitmix64."""

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")
_MASK = (1 << 64) - 1


class Draw:
    """A stream of choices that depends on the given parts alone."""

    def __init__(self, *parts: int | str) -> None:
        self._state = 0x9E3779B97F4A7C15
        for part in parts:
            number = crc32(part.encode()) if isinstance(part, str) else part
            self._state = (self._state ^ (number & _MASK)) & _MASK
            self._state = self.bits()

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, count: int) -> int:
        """Return a number in `[0, count)`."""
        return (self.bits() * count) >> 64

    def between(self, low: int, high: int) -> int:
        """Return a number in `[low, high]`."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return whether something that happens in `percent` of cases happens now."""
        return self.below(100) < percent

    def choice(self, items: Sequence[T]) -> T:
        """Return one item."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return up to `count` different items in random order."""
        rest = list(items)
        taken = min(count, len(rest))
        for place in range(taken):
            other = place + self.below(len(rest) - place)
            rest[place], rest[other] = rest[other], rest[place]
        return rest[:taken]
