"""Whether a comparison reaches what was aimed at, read from its points."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.compare import BRIEF, DENSE, TASKS, Point
from engine.evaluation.report import Cell, Report
from engine.evaluation.settings import GATE, INTERPOLATE, REUSEVIT

LOSS = 0.02  # of each task, relative to dense
FEWEST = 300  # questions, of which 2 % can be told
FAR = 0.04  # at most by the far end of the 95 % interval
COSTS = np.arange(0.25, 0.601, 0.025)  # where drift is compared with interpolation's
CHANCE = 25.0  # percent, of one choice among four
SAVED = ((REUSEVIT, 2.6), (GATE, 4.5))  # families, and how many times less arithmetic
Value = Callable[[Point], float]
_ABOUT_LOSS = (
    "loss: of retrieval, multiple choice and grounded answers alike, the far end of each"
    f" 95 % interval at most 4 %; sure: at most 2 %; few: under {FEWEST} questions"
)
_ABOUT_BRIEF = "brief gain: over chance, on questions about what is there for a moment"
_ABOUT_COSTS = (
    "drift, p5 and brief gain: at equal cost, .25 to .6 of dense's multiply-accumulates; in"
    " brackets from which cost up there are figures"
)


def families(points: Sequence[Point]) -> list[str]:
    """Names of the curves, in order."""
    return list(dict.fromkeys(point.family for point in points if point.family != DENSE))


def at_costs(
    points: Sequence[Point], family: str, value: Value, costs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Read a family's curve off at costs; not-a-number below its cheapest point, dense the same.

    Straight lines between neighbours, dense being one end: the mean over videos of which some go
    through the one setting and the others through the next lies exactly there.
    """
    curve = sorted((p.macs, value(p)) for p in points if p.family in (family, DENSE))
    known, values = (np.array(each) for each in zip(*curve, strict=True))
    left = values[0] if family == DENSE else np.nan
    read: NDArray[np.float64] = np.interp(costs, known, values, left=left)
    return read


def judge_goals(points: Sequence[Point]) -> Report:
    """Hold the points against the goals of the families that are among them."""
    present = families(points)
    gates = [name for name in present if name.startswith(GATE)]
    compared = gates if INTERPOLATE in present else []
    rows = [row for name in compared for row in (_drift(points, name), _tail(points, name))]
    notes = []
    if points[0].tasks:
        judged = INTERPOLATE in present and BRIEF in points[0].tasks  # few clips may have none
        briefly = [*compared, DENSE] if judged else []
        saved = [each for each in SAVED if any(name.startswith(each[0]) for name in present)]
        rows = [
            *(_reduction(points, prefix, wanted) for prefix, wanted in saved),
            *rows,
            *(_brief(points, name) for name in briefly),
        ]
        notes += [_ABOUT_LOSS] if saved else []
        notes += [_ABOUT_BRIEF] if briefly else []
    notes += [_ABOUT_COSTS] if rows and INTERPOLATE in present else []
    return Report("Goals", ("strategy", "goal", "wanted", "found", "met"), rows, tuple(notes))


def _reduction(points: Sequence[Point], prefix: str, wanted: float) -> list[Cell]:
    """Find the largest reduction that loses little enough."""
    ours = [point for point in points if point.family.startswith(prefix)]
    good = [p for p in ours if all(p.tasks[task].loss <= LOSS for task in TASKS)]
    held = [p for p in good if all(p.tasks[task].high <= FAR for task in TASKS)]
    sure = [p for p in ours if all(p.tasks[task].high <= LOSS for task in TASKS)]
    best, certain = (max((1 / p.macs for p in each), default=1.0) for each in (held, sure))
    found = f"{best:.2f} (sure: {certain:.2f})"
    few = points[0].tasks["answers"].items < FEWEST
    met = "few" if few else _met(best >= wanted)
    return [prefix, "MACs × at ≤ 2 % loss", f"≥ {wanted:g}", found, met]


def _drift(points: Sequence[Point], family: str) -> list[Cell]:
    ours, theirs = _both(points, family, lambda point: point.drift)
    ratio = ours / theirs
    met = _met(bool((ratio <= 0.5).all()))
    return [family, "drift ÷ interp.'s", "≤ 0.5", _range(ratio, ".2f"), met]


def _tail(points: Sequence[Point], family: str) -> list[Cell]:
    ours, theirs = _both(points, family, lambda point: point.p5)
    gained = ours - theirs
    met = _met(bool((gained > 0).all()))
    return [family, "p5 − interp.'s", "> 0", _range(gained, "+.3f"), met]


def _brief(points: Sequence[Point], family: str) -> list[Cell]:
    """Compare gains over chance; dense's own, at any cost, is the most that there is to reach."""
    ours, theirs = _both(points, family, lambda point: point.tasks[BRIEF].score - CHANCE)
    ratio = np.divide(ours, theirs, out=np.full_like(ours, np.inf), where=~(theirs <= 0))
    met = _met(bool((ratio >= 2).all()))
    return [family, "brief gain ÷ interp.'s", "≥ 2", _range(ratio, ".2f"), met]


def _both(points: Sequence[Point], family: str, value: Value) -> list[NDArray[np.float64]]:
    return [at_costs(points, each, value, COSTS) for each in (family, INTERPOLATE)]


def _range(values: NDArray[np.float64], form: str) -> str:
    """Least and most over the costs; not-a-number, which meets no goal, is beyond reach."""
    known = ~np.isnan(values)
    if not known.any():
        return "does not come so low"
    reach = "" if known.all() else f" ({COSTS[known][0]:.2f} up)"
    return f"{values[known].min():{form}} to {values[known].max():{form}}{reach}"


def _met(yes: bool) -> str:
    return "yes" if yes else "no"
