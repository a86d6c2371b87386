"""A linear layer in eight bits: rows and weights in e4m3, sums in float32."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.eight import LARGEST, fit_rows


class Linear8(nn.Module):
    """A linear layer of e4m3 weights on rows that are rounded to e4m3.

    Each column of weights has a scale of its own. Rows are divided by `unit` before they are
    rounded; without one, by what makes their own largest value e4m3's.
    """

    def __init__(self, linear: nn.Linear, unit: float | None = None) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        rows, scale = fit_rows(weight)
        self.weight = rows.to(torch.float8_e4m3fn)
        self.scale = scale[:, 0] * (unit or 1.0)
        self.bias = linear.bias
        self.unit = unit

    def forward(self, x: Tensor, columns: slice = slice(None)) -> Tensor:
        """Define the product, or some of its columns: rows rounded, multiplied in float32."""
        if self.unit is None:
            rows, units = fit_rows(x)
        else:
            rows, units = x.float() / self.unit, torch.ones((), device=x.device)
        rounded = rows.clamp(-LARGEST, LARGEST).to(self.weight.dtype)
        sums = F.linear(rounded.float(), self.weight[columns].float())
        return (sums * self.scale[columns] * units + self.bias[columns].float()).to(x.dtype)


def some_columns(linear: nn.Linear | Linear8, x: Tensor, columns: slice) -> Tensor:
    """Apply some columns of a linear layer."""
    if isinstance(linear, Linear8):
        return linear.forward(x, columns)
    return F.linear(x, linear.weight[columns], linear.bias[columns])
