"""Whether a comparison reaches what was aimed at, read from its points."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.compare import BRIEF, DENSE, TASKS, Point
from engine.evaluation.report import Cell, Report
from engine.evaluation.settings import GATE, INTERPOLATE, REUSEVIT

LOSS = 0.02  # of each task, relative to dense
COSTS = np.arange(0.25, 0.601, 0.025)  # where drift is compared with interpolation's
CHANCE = 25.0  # percent, of one choice among four
Value = Callable[[Point], float]


def families(points: Sequence[Point]) -> list[str]:
    """Names of the curves, in order."""
    return list(dict.fromkeys(point.family for point in points if point.family != DENSE))


def at_costs(
    points: Sequence[Point], family: str, value: Value, costs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Read a family's curve off at costs; not-a-number below its cheapest point.

    Straight lines between neighbours, dense being one end: the mean over videos of which some go
    through the one setting and the others through the next lies exactly there.
    """
    curve = sorted((p.macs, value(p)) for p in points if p.family in (family, DENSE))
    known, values = (np.array(each) for each in zip(*curve, strict=True))
    read: NDArray[np.float64] = np.interp(costs, known, values, left=np.nan)
    return read


def judge_goals(points: Sequence[Point]) -> Report:
    """Hold the points against the goals."""
    rows: list[list[Cell]] = []
    if points[0].tasks:
        rows += [
            _reduction(points, "ReuseViT", REUSEVIT, 2.6),
            _reduction(points, "the early gate", GATE, 4.0),
        ]
    gates = [name for name in families(points) if name.startswith(GATE)]
    for name in gates:
        rows += [_drift(points, name), _tail(points, name)]
        if points[0].tasks:
            rows.append(_brief(points, name))
    notes = (
        "loss: of each of retrieval, multiple choice and grounded answers, relative to dense;"
        " in brackets where the 95 % limit of every loss keeps it too",
        "costs .25 to .6 of dense's multiply-accumulates, as far down as the family reaches",
    )
    return Report("Goals", ("goal", "wanted", "found", "met"), rows, notes)


def _reduction(points: Sequence[Point], name: str, prefix: str, wanted: float) -> list[Cell]:
    """Find the largest reduction that loses little enough."""
    ours = [point for point in points if point.family.startswith(prefix)]
    good = [p for p in ours if all(p.tasks[task].loss <= LOSS for task in TASKS)]
    sure = [p for p in ours if all(p.tasks[task].high <= LOSS for task in TASKS)]
    best, certain = (max((1 / p.macs for p in each), default=1.0) for each in (good, sure))
    found = f"{best:.2f} × [{certain:.2f} ×]"
    return [f"fewer MACs at ≤ 2 % loss, {name}", f"≥ {wanted:g} ×", found, _met(best >= wanted)]


def _drift(points: Sequence[Point], family: str) -> list[Cell]:
    ours, theirs = (
        at_costs(points, each, lambda point: point.drift, COSTS) for each in (family, INTERPOLATE)
    )
    ratio = ours / theirs
    said = [f"drift of interpolation's, {family}", "≤ 0.5"]
    return [*said, _range(ratio, ".2f"), _met(bool((ratio <= 0.5).all()))]


def _tail(points: Sequence[Point], family: str) -> list[Cell]:
    ours, theirs = (
        at_costs(points, each, lambda point: point.p5, COSTS) for each in (family, INTERPOLATE)
    )
    gained = ours - theirs
    said = [f"5th percentile over it, {family}", "> 0"]
    return [*said, _range(gained, "+.3f"), _met(bool((gained > 0).all()))]


def _brief(points: Sequence[Point], family: str) -> list[Cell]:
    """Compare gains over chance on brief events."""
    ours, theirs = (
        at_costs(points, each, lambda point: point.tasks[BRIEF].score - CHANCE, COSTS)
        for each in (family, INTERPOLATE)
    )
    ratio = ours / theirs
    said = [f"brief events, gain of its, {family}", "≥ 2"]
    return [*said, _range(ratio, ".2f"), _met(bool((ratio >= 2).all()))]


def _range(values: NDArray[np.float64], form: str) -> str:
    """Least and most over the costs; not-a-number, which meets no goal, is beyond reach."""
    known = ~np.isnan(values)
    if not known.any():
        return "does not come so low"
    reach = "" if known.all() else f", from {COSTS[known][0]:.2f} up"
    return f"{values[known].min():{form}} to {values[known].max():{form}}{reach}"


def _met(yes: bool) -> str:
    return "yes" if yes else "no"
