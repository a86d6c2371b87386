"""How loose a strategy may be on the next block of a stream, from the drift audited so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

STEEP = 1.3  # drift grows about as the scale to this power
RUNGS = 4  # that double the scale
LOOSEST, TIGHTEST = 2, -16
RECENT = 6  # drifts that say how the stream is now; all of them together how it is at all
FASTEST = 6  # rungs tighter at once
SLACK = 1.5  # times what is allowed, at which it is too much: a few audits say no more
ENOUGH = 24  # audits from which on a strategy may be looser than it came
LOOSER = 2  # rungs at once
FAR, SPENT = 1.5, 0.7  # a block that far above the bound, when that much is spent, is done again


@dataclass(frozen=True, slots=True)
class Audited:
    """A drift, and the rung at which it came about."""

    drift: float
    rung: int

    def at(self, rung: int) -> float:
        """Return the drift to be expected at another rung."""
        return self.drift * scale(rung - self.rung) ** STEEP


@dataclass(frozen=True, slots=True)
class Move:
    """What to do after a block: the next rung, and whether this block counts."""

    rung: int
    redo: bool = False  # encode the block again, from a full frame
    refresh: bool = False  # start the next block with a full frame


@dataclass(frozen=True, slots=True)
class Controller:
    """Steers the mean drift of a whole stream to `aim`, below the bound by what audits leave open.

    What the blocks so far left of the aim is what the rest may drift, within a factor of the aim:
    a calm beginning pays for what comes. A block far above the bound that would take most of it is
    done again tighter.
    """

    max_drift: float
    aim: float

    def move(self, rung: int, audited: Sequence[Audited], spent: float, left: float) -> Move:
        """Decide by the drifts audited so far, those of the block just done at their end.

        `spent` is the mean drift of what is done and `left` the share of frames that is not.
        """
        if not audited:
            return Move(rung)
        block = [each.drift for each in audited if each.rung == rung][-RECENT:]
        if block and fmean(block) > FAR * self.max_drift and spent > SPENT * self.max_drift:
            return Move(rung - self.rungs(fmean(block)), redo=True)
        expected = [each.at(rung) for each in audited]
        level = (fmean(expected[-RECENT:]) + fmean(expected)) / 2
        rest = (self.aim - spent) / left if left > 0 else self.aim
        allowed = min(max(rest, 0.4 * self.aim), 1.5 * self.aim)
        if level > SLACK * allowed:
            return Move(rung - min(FASTEST, rungs_to(level / allowed)), refresh=True)
        loosest = LOOSEST if len(audited) >= ENOUGH else 0
        for looser in range(LOOSER, 0, -1):
            if level * scale(looser) ** STEEP < allowed:
                return Move(max(rung, min(rung + looser, loosest)))
        return Move(rung)

    def rungs(self, drift: float) -> int:
        """Return how many rungs tighter bring a drift to the aim."""
        return min(FASTEST, rungs_to(drift / self.aim))


def scale(rung: int) -> float:
    """Return the factor on a strategy's thresholds at that rung."""
    return float(2.0 ** (rung / RUNGS))


def rungs(ratio: float) -> int:
    """Return how many rungs tighter divide the drift by `ratio`; below zero looser ones."""
    return round(RUNGS / STEEP * math.log2(ratio)) if ratio > 0 else -99  # no drift at all


def rungs_to(ratio: float) -> int:
    """Return how many rungs tighter divide the drift by `ratio`, at least one."""
    return max(1, rungs(ratio)) if math.isfinite(ratio) else 99
