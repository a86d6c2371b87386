"""Attention over packed sequences of unequal length: none sees another, and nothing is padded."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn


def attend_packed(qkv: Tensor, heads: int, starts: Tensor, longest: int) -> Tensor:
    """Pre-projections `[R, D]` of queries, keys and values `[R, 3D]` of sequences end to end.

    Args:
        qkv: rows of all sequences.
        heads: H.
        starts: int32 `[S + 1]`, the row at which each sequence begins, and R.
        longest: no sequence has more rows.
    """
    rows, width = len(qkv), qkv.shape[1] // 3
    q, k, v = qkv.view(rows, 3, heads, -1).unbind(1)  # [R, H, dh]
    if qkv.is_cuda and qkv.dtype in (torch.bfloat16, torch.float16):
        attended = varlen_attn(q, k, v, starts, starts, longest, longest)
        assert isinstance(attended, Tensor)
        return attended.reshape(rows, width)
    counts = starts.diff().tolist()
    parts = zip(*(each.split(counts) for each in (q, k, v)), strict=True)
    mixed = [
        F.scaled_dot_product_attention(*(each.transpose(0, 1) for each in part)).transpose(0, 1)
        for part in parts
    ]
    return torch.cat(mixed).reshape(rows, width)
