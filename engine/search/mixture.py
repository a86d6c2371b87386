"""Mixed subjects: a query vector moved towards some texts and away from others."""

from collections.abc import Mapping
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.search.context import SearchContext
from engine.search.scores import subject_vector

_LEAST = 1e-3  # length, where the largest weight is 1, below which texts have cancelled each other


def mixed_vector(
    context: SearchContext, subject: str | bytes, others: Mapping[str, float]
) -> NDArray[np.float32]:
    """The unit vector of a subject with others added by weight; a negative weight leads away.

    Weights are divided by the largest, so that none is too large to be added up.
    """
    for text, weight in others.items():
        if not text.strip() or not _is_finite(weight):
            raise UsageError(f"mix {text!r}: {_said(weight)}; allowed: a text and a finite number")
    largest = max([1.0, *(abs(float(weight)) for weight in others.values())])
    total = subject_vector(context, subject).astype(np.float64) / largest
    for text, weight in others.items():
        total += float(weight) / largest * subject_vector(context, text).astype(np.float64)
    length = float(np.linalg.norm(total))
    if not length >= _LEAST:
        raise UsageError("the texts of a mix cancel each other; allowed: other weights")
    return (total / length).astype(np.float32)


def _is_finite(weight: float) -> bool:
    try:
        return isfinite(weight)
    except OverflowError:  # an integer that no float holds
        return False


def _said(weight: float) -> str:
    return "an integer beyond every float" if isinstance(weight, int) else str(weight)
