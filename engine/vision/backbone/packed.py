"""Attention over packed sequences of unequal length: none sees another, and nothing is padded."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn


def attend_packed(qkv: Tensor, heads: int, counts: Sequence[int]) -> Tensor:
    """Pre-projections `[R, D]` of queries, keys and values `[R, 3D]` of sequences end to end.

    Args:
        qkv: rows of all sequences.
        heads: H.
        counts: rows of each sequence, R in all.
    """
    rows, width = len(qkv), qkv.shape[1] // 3
    q, k, v = qkv.view(rows, 3, heads, -1).unbind(1)  # [R, H, dh]
    if qkv.is_cuda and qkv.dtype in (torch.bfloat16, torch.float16):
        starts = torch.tensor([0, *counts], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        starts, longest = starts.to(qkv.device, non_blocking=True), max(counts)
        attended = varlen_attn(q, k, v, starts, starts, longest, longest)
        assert isinstance(attended, Tensor)
        return attended.reshape(rows, width)
    parts = zip(*(each.split(list(counts)) for each in (q, k, v)), strict=True)
    mixed = [
        F.scaled_dot_product_attention(*(each.transpose(0, 1) for each in part)).transpose(0, 1)
        for part in parts
    ]
    return torch.cat(mixed).reshape(rows, width)
