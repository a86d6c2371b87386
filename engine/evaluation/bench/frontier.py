"""What a strategy costs at a drift without a bound, from what it costs at fixed scales."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]  # mean drift, and cost as a share of dense


def frontier(points: Iterable[Point]) -> NDArray[np.float64]:
    """Return the lower convex hull of drifts and costs, dense among them: `[n, 2]`, by drift.

    A point between two settings is had by serving some frames by one and the rest by the other.
    """
    hull: list[Point] = []
    for point in sorted({(0.0, 1.0), *points}):
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    return np.array(hull)


def cost_at(points: Iterable[Point], drift: float) -> float:
    """Return the least cost, as a share of dense, at a mean drift."""
    drifts, costs = frontier(points).T
    return float(np.interp(drift, drifts, costs))


def _turn(first: Point, middle: Point, last: Point) -> float:
    """Above zero where the way over three points turns left."""
    return (middle[0] - first[0]) * (last[1] - first[1]) - (middle[1] - first[1]) * (
        last[0] - first[0]
    )
