"""How many there can be of what was only sampled: bounds that hold for every finite population."""

from dataclasses import dataclass
from math import exp, log, log1p
from typing import Final

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float64]

_PLANNED: Final = 0.8  # of the bet, on what was planned for; the rest on all of these
_SHARES: Final = (0.999, 0.9, 0.75, 0.5, 0.3, 0.15, 0.05)
_LUCK: Final = 1.0  # standard deviations
_STEPS: Final = 60  # of a bisection


@dataclass(frozen=True, slots=True)
class Bet:
    """Weights on rates `a` below the least chance with which anything is sampled.

    Of M things, each sampled independently with a chance q of at least `a`, let T be the sum of
    -ln(1 - a/q) over those that were. Then exp(-T) (1 - a)^-M has the mean 1, whatever M and the
    chances are, and so has a weighted mean of it over several rates. By Markov's inequality it
    reaches 1/delta with a chance of at most delta: every M for which it does is ruled out.
    """

    rates: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def on(cls, least: float, planned: float) -> "Bet":
        """Bet mostly on one share of the least chance, and a little on others."""
        shares = (planned, *_SHARES)
        rest = (1 - _PLANNED) / len(_SHARES)
        return cls(tuple(least * share for share in shares), (_PLANNED, *[rest] * len(_SHARES)))

    def most(self, found: Chances, delta: float) -> float:
        """Return how many there are at most, but for a chance of `delta`.

        `found` are the chances with which those were sampled that were found.
        """
        told = [
            (log(weight) + float(np.log1p(-rate / found).sum()), -log1p(-rate))
            for rate, weight in zip(self.rates, self.weights, strict=True)
        ]
        high = min((log(1 / delta) - start) / slope for start, slope in told)
        low = 0.0
        for _ in range(_STEPS):  # the bet grows with M: where it reaches 1/delta
            middle = (low + high) / 2
            exponents = [start + slope * middle for start, slope in told]
            top = max(exponents)
            total = top + log(sum(exp(each - top) for each in exponents))
            low, high = (low, middle) if total >= log(1 / delta) else (middle, high)
        return max(high, float(len(found)))


def planned_rest(expected: Chances, chance: Chances, delta: float) -> tuple[Chances, Chances]:
    """Return how many unsampled ones a bet will leave possible, and the share to bet on.

    `expected` are there in all, each sampled with the same chance; as many as that gives are taken
    to be found, and by bad luck some more.
    """
    found = expected * chance + _LUCK * np.sqrt(expected * chance)
    least, best = np.full(np.broadcast(expected, chance).shape, np.inf), np.zeros(())
    for share in _SHARES:
        told = found * -np.log1p(-share) + log(1 / (delta * _PLANNED))
        bound = told / -np.log1p(-chance * share)
        best = np.where(bound < least, share, best)
        least = np.minimum(least, bound)
    return least - found, best
