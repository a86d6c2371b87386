"""Where a kernel runs: the GPU, Triton's interpreter in tests, or the PyTorch reference."""

import os

from torch import Tensor


def runs_triton(tensor: Tensor) -> bool:
    """Whether a kernel over `tensor` is launched through Triton; on a plain CPU it is not."""
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
