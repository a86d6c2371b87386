"""Upper bounds on a mean drift, one beside another: are they kept, and what do they cost in audits.

A bound that is valid at any time may be looked at after every audit; one for a number of audits
that was fixed beforehand is looked at there alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.bench.simulate import STREAMS
from engine.evaluation.report import Cell, Report
from engine.vision.bounded.audit import EARLY, LATE, upper_mean

Drifts = NDArray[np.float64]  # [rounds, audits], in the order in which they were drawn
Bound = Callable[[Drifts, float], Drifts]  # upper bounds after each audit, but for a risk

MEANS = np.geomspace(1e-4, 1, 200)  # of the drift, that a bet is made against
BETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # of a mean, what the true one is bet to be
CAUTIOUS = 0.5  # of all that a bet may lose
LOOKS = (8, 16)  # audits of the first look and of both


def gamma(drifts: Drifts, risk: float) -> Drifts:
    """Bound by what is in place: two looks, each at its share of the risk, infinite elsewhere."""
    found = np.full(drifts.shape, np.inf)
    for look, share in zip(LOOKS, (EARLY, LATE), strict=True):
        if look <= drifts.shape[1]:
            found[:, look - 1] = [upper_mean(row[:look].tolist(), share * risk) for row in drifts]
    return found


def betting(drifts: Drifts, risk: float, most: float = 1.0) -> Drifts:
    """Bet against each mean that drifts up to `most` are smaller: Waudby-Smith and Ramdas.

    Each bet is the one that would have grown fastest on what came before (aGRAPA). What a mean
    had to pay more than 1 / risk for is not the mean: the bound is the smallest such one.
    """
    values, means = drifts / most, MEANS
    wealth = np.zeros((len(drifts), len(means)))
    found = np.full(drifts.shape, np.inf)
    for at in range(drifts.shape[1]):
        seen = values[:, :at]
        mean = (0.5 + seen.sum(1)) / (at + 1)
        spread = (0.25 + ((seen - mean[:, None]) ** 2).sum(1)) / (at + 1)
        apart = means[None] - mean[:, None]
        bet = apart / (spread[:, None] + apart**2)
        bet = bet.clip(0.0, CAUTIOUS / (1 - means[None] + 1e-9))
        wealth += np.log1p(bet * (means[None] - values[:, at, None]))
        found[:, at] = _least(wealth, means, risk) * most
    return np.minimum.accumulate(found, axis=1)


def bernstein(drifts: Drifts, risk: float, most: float = 1.0) -> Drifts:
    """Bound by the empirical Bernstein sequence whose weights are predicted from what came before.

    Waudby-Smith and Ramdas, theorem 2, one-sided.
    """
    values, rounds = drifts / most, len(drifts)
    weights, weighted, paid = np.zeros(rounds), np.zeros(rounds), np.zeros(rounds)
    found = np.full(drifts.shape, np.inf)
    for at in range(drifts.shape[1]):
        seen = values[:, :at]
        mean = (0.5 + seen.sum(1)) / (at + 1)
        spread = (0.25 + ((seen - mean[:, None]) ** 2).sum(1)) / (at + 1)
        times = at + 1
        weight = np.sqrt(2 * math.log(1 / risk) / (spread * times * math.log(times + 1)))
        weight = weight.clip(max=CAUTIOUS)
        loss = -np.log1p(-weight) - weight
        weights += weight
        weighted += weight * values[:, at]
        paid += (values[:, at] - mean) ** 2 * loss
        found[:, at] = (weighted + math.log(1 / risk) + paid) / weights * most
    return np.minimum.accumulate(found, axis=1)


def ratio(drifts: Drifts, risk: float) -> Drifts:
    """Bet that the mean is a share of what is claimed, drifts being exponential or spread less.

    The product of likelihood ratios against a mean m is `s^-n exp(-(1/s - 1) sum / m)`, which is
    valid for all drifts whose Laplace transform is at most an exponential one's; shares are mixed.
    """
    sums = drifts.cumsum(1)
    found = np.empty(drifts.shape)
    for at in range(drifts.shape[1]):
        low, high = sums[:, at] / (at + 1), np.full(len(drifts), 1e6)
        for _ in range(60):
            means = np.sqrt(np.maximum(low, 1e-12) * high)
            grown = [
                -(at + 1) * math.log(share) - (1 / share - 1) * sums[:, at] / means
                for share in BETS
            ]
            refuted = np.logaddexp.reduce(grown) - math.log(len(BETS)) >= math.log(1 / risk)
            low, high = np.where(refuted, low, means), np.where(refuted, means, high)
        found[:, at] = high
    return np.minimum.accumulate(found, axis=1)


def _least(wealth: Drifts, means: NDArray[np.float64], risk: float) -> NDArray[np.float64]:
    """Return the smallest mean above which all are refuted."""
    standing = wealth < math.log(1 / risk)
    last = len(means) - 1 - standing[:, ::-1].argmax(1)
    return np.where(standing.any(1), means[last], means[0])


BOUNDS: Mapping[str, Bound] = {
    "gamma, two looks": gamma,
    "likelihood ratios": ratio,
    "betting, drifts up to 1": betting,
    "betting, up to .3": lambda drifts, risk: betting(drifts.clip(max=0.3), risk, 0.3),
    "Bernstein, up to .3": lambda drifts, risk: bernstein(drifts.clip(max=0.3), risk, 0.3),
}


def run(
    *,
    rounds: int = 1000,
    seed: int = 7,
    audits: int = 64,
    risk: float = 0.05,
    frames: int = 2000,
    streams: Sequence[str] = tuple(STREAMS),
    bounds: Mapping[str, Bound] = BOUNDS,
) -> Report:
    """Draw audits of made-up streams, at random over the whole of each, and bound their mean.

    Columns: how often a bound was above the true mean whenever it was looked at, on the worst of
    the streams and on all; how many times the true mean it is after 8, 16 and all audits, at the
    median; and how many audits it takes to say that a stream of half the bound keeps it.
    """
    random = np.random.default_rng(seed)
    drawn = {name: _draw(name, rounds, audits, frames, random) for name in streams}
    rows: list[list[Cell]] = []
    for name, bound in bounds.items():
        kept, apart = [], []
        for drifts, mean in drawn.values():
            upper = bound(drifts, risk)
            kept.append(float((upper.min(1) >= mean).mean()))
            apart.append(np.median(upper / mean[:, None], axis=0))
        half = bound(random.exponential(0.01, (200, audits)), risk)
        passed = (half <= 0.02).mean(0) >= 0.5
        needed = int(passed.argmax()) + 1 if passed.any() else None
        times = [float(np.median([each[at - 1] for each in apart])) for at in (*LOOKS, audits)]
        shown: list[Cell] = [each if math.isfinite(each) else None for each in times]
        rows.append([name, min(kept), float(np.mean(kept)), *shown, needed])
    return Report(
        "Bounds on a mean",
        ("bound", "kept, worst", "kept", "× at 8", "× at 16", f"× at {audits}", "audits at half"),
        rows,
        (
            f"{rounds} draws of {audits} audits of each of {len(streams)} kinds of stream of"
            f" {frames} frames, {1 - risk:.0%} confidence; kept: the true mean was under the bound"
            " at every look",
            "×: the bound over the true mean, medians; audits at half: until a stream of"
            " exponential drifts of .01 is said to be under .02 by half of the draws",
        ),
    )


def _draw(
    name: str, rounds: int, audits: int, frames: int, random: np.random.Generator
) -> tuple[Drifts, NDArray[np.float64]]:
    """Return audits of streams of a kind, none twice, and the mean drift of each stream."""
    levels = STREAMS[name].levels(frames)
    drifts = (random.exponential(1.0, (rounds, frames)) * levels).clip(max=1.0)
    order = random.random((rounds, frames)).argpartition(audits, axis=1)[:, :audits]
    order = random.permuted(order, axis=1)
    return np.take_along_axis(drifts, order, axis=1), drifts.mean(1)
