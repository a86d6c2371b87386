"""Edges of a picture that keeps its own shape: whole patches, as many as a model takes."""

from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Literal

from engine.errors import VideoError

Rule = Literal["naflex", "qwen", "gemma"]
_FINEST, _WIDEST = 1e-5, 100.0  # of the scales that NaFlex searches
_LONGEST = 200  # times as long as wide, that Qwen takes


@dataclass(frozen=True, slots=True)
class Fit:
    """What a processor makes of a picture's edges: multiples of one number, of bounded area."""

    rule: Rule  # whose way it is
    multiple: int  # pixels along a patch, or along the square of patches that are merged
    most: int  # pixels of the whole picture
    least: int = 0

    @property
    def side(self) -> int:
        """Edge of the largest square."""
        return max(self.multiple, int(sqrt(self.most)) // self.multiple * self.multiple)

    def edges(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture becomes."""
        ways = {"naflex": self._naflex, "qwen": self._qwen, "gemma": self._gemma}
        return ways[self.rule](height, width)

    def _naflex(self, height: int, width: int) -> tuple[int, int]:
        """Find by bisection the largest scale whose edges, rounded up, still fit."""

        def scaled(scale: float) -> tuple[int, int]:
            tall, wide = (ceil(edge * scale / self.multiple) for edge in (height, width))
            return max(1, tall) * self.multiple, max(1, wide) * self.multiple

        low, high = _FINEST / 10, _WIDEST
        while high - low >= _FINEST:
            middle = (low + high) / 2
            tall, wide = scaled(middle)
            low, high = (middle, high) if tall * wide <= self.most else (low, middle)
        return scaled(low)

    def _qwen(self, height: int, width: int) -> tuple[int, int]:
        """Round both edges; outside the area's bounds scale first."""
        if max(height, width) > _LONGEST * min(height, width):
            raise VideoError(
                f"pictures of {width} x {height}; this model takes at most {_LONGEST} times as long"
                " as wide"
            )
        step = self.multiple
        tall, wide = round(height / step) * step, round(width / step) * step
        if tall * wide > self.most:
            factor = sqrt(height * width / self.most)
            return tuple(max(step, floor(e / factor / step) * step) for e in (height, width))  # type: ignore[return-value]
        if tall * wide < self.least:
            factor = sqrt(self.least / (height * width))
            return ceil(height * factor / step) * step, ceil(width * factor / step) * step
        return tall, wide

    def _gemma(self, height: int, width: int) -> tuple[int, int]:
        """Scale to the whole area and round down; a line of patches is cut to it."""
        factor, step = sqrt(self.most / (height * width)), self.multiple
        tall, wide = (floor(factor * edge / step) for edge in (height, width))
        longest = self.most // step**2
        if not tall:
            tall, wide = 1, min(width // height, longest)
        elif not wide:
            tall, wide = min(height // width, longest), 1
        return tall * step, wide * step
