"""Some parts of an object and nothing between them, for who looks at little of a lot."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

Part = tuple[int, int]  # from and to, in bytes
_AT_ONCE = 64  # parts that are fetched ahead
_THREADS = 16


class Parts:
    """Parts in their order, fetched some at a time and side by side; what lies between is zeros."""

    def __init__(self, fetch: Callable[[int, int], bytes], parts: Iterable[Part]) -> None:
        self._fetch = fetch
        self._parts = _merged(parts)
        self._starts = [start for start, _ in self._parts]
        self._held: dict[int, bytes] = {}

    def read(self, at: int, size: int) -> bytes:
        """Return so many bytes from somewhere."""
        found, stop = bytearray(size), at + size
        number = max(bisect_right(self._starts, at) - 1, 0)
        while number < len(self._parts) and self._starts[number] < stop:
            start, end = self._parts[number]
            first, last = max(start, at), min(end, stop)
            if first < last:
                found[first - at : last - at] = self._part(number)[first - start : last - start]
            number += 1
        return bytes(found)

    def _part(self, number: int) -> bytes:
        if number not in self._held:
            wanted = self._parts[number : number + _AT_ONCE]
            with ThreadPoolExecutor(_THREADS) as threads:
                came = threads.map(lambda part: self._fetch(*part), wanted)
                self._held = dict(enumerate(came, number))
        return self._held[number]


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Return parts in order, those as one that touch."""
    merged: list[Part] = []
    for start, stop in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
