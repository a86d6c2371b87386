"""How loose a strategy may be on the next block of a stream, from the drift audited so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

STEEP = 1.3  # drift grows about as the scale to this power
LOOSEST, TIGHTEST = 1, -8  # rungs; each is a factor of the square root of two


@dataclass(frozen=True, slots=True)
class Move:
    """What to do after a block: the next rung, and whether this block counts."""

    rung: int
    redo: bool = False  # encode the block again, from a full frame
    refresh: bool = False  # start the next block with a full frame

    @property
    def dense(self) -> bool:
        """Whether even the tightest rung drifts too much."""
        return self.rung < TIGHTEST


@dataclass(frozen=True, slots=True)
class Controller:
    """Steers the mean drift to a little over half the bound, so that its upper limit stays below.

    A block far above the bound is done again three rungs tighter; a stream near it is tightened and
    refreshed; one far below is loosened.
    """

    max_drift: float

    def move(self, rung: int, block: Sequence[float], earlier: Sequence[float]) -> Move:
        """Decide from the audited drifts of the block just done and of those before it."""
        if not block:
            return Move(rung)
        now = fmean(block)
        if now > 1.5 * self.max_drift:
            return Move(rung - 3, redo=True)
        blend = (now + fmean(earlier)) / 2 if earlier else now
        if blend > 0.8 * self.max_drift:
            return Move(rung - 1, refresh=True)
        if blend < 0.25 * self.max_drift:
            return Move(min(rung + 1, LOOSEST))
        return Move(rung)


def scale(rung: int) -> float:
    """Return the factor on a strategy's thresholds at that rung."""
    return 2.0 ** (rung / 2)


def rungs_to(ratio: float) -> int:
    """Return how many rungs tighter divide the drift by `ratio`, with a tenth to spare."""
    return max(1, math.ceil(2 / STEEP * math.log2(1.1 * ratio))) if math.isfinite(ratio) else 99
