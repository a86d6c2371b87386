"""The activation functions of the towers."""

from torch import Tensor
from torch.nn import functional as F


def activate(x: Tensor, name: str) -> Tensor:
    """Apply quick_gelu (`x * sigmoid(1.702 x)`), gelu (exact) or gelu_tanh elementwise."""
    if name == "quick_gelu":
        return x * (1.702 * x).sigmoid()
    if name == "gelu":
        return F.gelu(x)
    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    raise ValueError(f"expected quick_gelu, gelu or gelu_tanh, got {name = }")
