"""Rows in e4m3: each divided by its unit, which makes its largest value e4m3's."""

import triton
import triton.language as tl
from torch import Tensor

LARGEST = 448.0  # of e4m3
TINY = 1e-30  # stands for the largest value of a row of zeros


def fit_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `[..., D]` in units, not yet rounded, and their units `[..., 1]`, float32."""
    units = rows.float().abs().amax(-1, keepdim=True).clamp_min(TINY) / LARGEST
    return rows.float() / units, units


@triton.jit
def fit_row(row, unit_ptr):
    """Return a row in units, and store its unit."""
    largest = tl.maximum(tl.max(tl.abs(row), 0), 1e-30)
    tl.store(unit_ptr, largest / 448.0)
    return row * (448.0 / largest)
