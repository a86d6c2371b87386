"""Mixed subjects: a query vector moved towards some texts and away from others."""

from collections.abc import Mapping
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.search.context import SearchContext
from engine.search.scores import subject_vector

_LEAST = 1e-3  # length below which texts have cancelled each other


def mixed_vector(
    context: SearchContext, subject: str | bytes, others: Mapping[str, float]
) -> NDArray[np.float32]:
    """The unit vector of a subject with others added by weight; a negative weight leads away."""
    total = subject_vector(context, subject).astype(np.float64)
    for text, weight in others.items():
        if not text.strip() or not isfinite(weight):
            raise UsageError(f"mix {text!r}: {weight}; allowed: a text and a number")
        total = total + weight * subject_vector(context, text)
    length = float(np.linalg.norm(total))
    if length < _LEAST:
        raise UsageError("the texts of a mix cancel each other; allowed: other weights")
    return (total / length).astype(np.float32)
