"""Error bounds: how far an approximate row's score may lie from its exact one, for a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.search.student import student

Floats = NDArray[np.float64]
_FLOOR = 0.1  # of the typical drift: no estimate is taken to be smaller
_tail = np.vectorize(lambda z: 0.5 * erfc(z / sqrt(2)), otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Residuals:
    """Exact minus approximate vectors of audited rows, over the root of twice the drift expected.

    For a query q the scores of approximate rows are off by `q · residual · sqrt(2 · drift)`; how
    that spreads over the audited rows says how far it may be for any other row.
    """

    vectors: NDArray[np.float32]  # [m, E]
    typical: float  # mean drift of the audited rows, taken where a row's is not known
    rows: int  # approximate rows that were there when the sample was drawn

    @classmethod
    def of_rows(
        cls,
        exact: NDArray[np.float32],
        approximate: NDArray[np.float32],
        drifts: NDArray[np.float32],
        rows: int,
    ) -> "Residuals":
        """Form the residuals of audited rows; `drifts` are the stored estimates, NaN if unknown."""
        found = 1 - (exact * approximate).sum(1).astype(np.float64)
        typical = max(float(found.mean()), 1e-6)
        spread = np.sqrt(2 * _expected(drifts, typical))[:, None]
        return cls(((exact - approximate) / spread).astype(np.float32), typical, rows)

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Residuals":
        """Read what `as_json` gave."""
        vectors = np.frombuffer(bytes.fromhex(stored["vectors"]), np.float16)
        shaped = vectors.reshape(stored["count"], -1).astype(np.float32)
        return cls(shaped, stored["typical"], stored["rows"])

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        packed = self.vectors.astype(np.float16).tobytes().hex()
        count = len(self.vectors)
        return {"vectors": packed, "count": count, "typical": self.typical, "rows": self.rows}

    def spread_of(self, query: NDArray[np.float32], drifts: NDArray[np.float32]) -> "ErrorSpread":
        """Return how rows with these drift estimates spread around their scores for a query."""
        off = self.vectors @ query
        scale = np.sqrt(2 * _expected(drifts, self.typical))
        return ErrorSpread(off.mean() * scale, off.std(ddof=1) * scale, len(off) - 1)


@dataclass(frozen=True, slots=True)
class ErrorSpread:
    """Per row, the mean and the standard deviation of exact minus stored score."""

    mean: Floats
    deviation: Floats
    freedom: int

    def bounds(self, confidence: float) -> Floats:
        """How far above or below a row's exact score may lie, each row at `confidence`."""
        return np.abs(self.mean) + student(confidence, self.freedom) * self.deviation

    def chance_above(self, margins: Floats) -> Floats:
        """Return the chance of each row to gain more than its margin."""
        chances: Floats = _tail((margins - self.mean) / np.maximum(self.deviation, 1e-9))
        return chances


def _expected(drifts: NDArray[np.float32], typical: float) -> Floats:
    known = np.where(np.isnan(drifts), typical, drifts).astype(np.float64)
    return np.maximum(known, _FLOOR * typical)
