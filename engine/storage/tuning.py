"""Sizes at which searching changes its ways, and what a search of an index gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_COSINE = -2.0  # below every score, rounding included


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes at which searching changes its ways."""

    flat_rows: int = 50_000  # up to here every search is exact
    coded_rows: int = 500_000  # above, codes of a few bits choose the vectors to look at
    probe_share: float = 1 / 16  # of the allowed rows that a search without codes looks at
    coded_share: float = 1 / 32  # and one with codes
    exact_rows: int = 20_000  # so few allowed rows are all looked at
    delta_rows: int = 10_000  # and at least an eighth of the index, before the delta is merged


@dataclass(frozen=True, slots=True)
class NearestRows:
    """The nearest rows of an index, best first, and how they were looked for."""

    row_ids: np.ndarray  # int64 [k]
    scores: np.ndarray  # float32 [k]
    how: str
    exact: bool = True  # every row of the choice was looked at


@dataclass(frozen=True, slots=True)
class IndexChoice:
    """Rows to search among, how FAISS tells them, and how many lie in each list."""

    positions: np.ndarray  # int64 [n]
    selector: Any  # None: all
    per_list: np.ndarray | None = None  # int64 [lists]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.positions)


def products(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the inner product of each vector `[n, E]` with a query, on this thread alone.

    `@` would wake BLAS's threads; where ingests keep the cores busy, waiting for them takes longer
    than the search itself.
    """
    found: np.ndarray = np.einsum("ne,e->n", vectors, query)
    return found
