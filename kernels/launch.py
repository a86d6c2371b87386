"""Where a kernel runs: the GPU, Triton's interpreter in tests, or the PyTorch reference."""

import os
from functools import lru_cache

import torch
from torch import Tensor


def runs_triton(tensor: Tensor) -> bool:
    """Whether a kernel over `tensor` is launched through Triton; on a plain CPU it is not."""
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def multiprocessors(tensor: Tensor) -> int:
    """How many programs run at once where `tensor` is, one on each multiprocessor."""
    return _count(tensor.device) if tensor.is_cuda else 2


@lru_cache
def _count(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
