"""How much attention a token receives, summed over heads."""

import torch
from torch import Tensor

from engine.vision.backbone.tower import Layer


def class_importance(
    queries: Tensor, keys: Tensor, heads: int, bias: Tensor | None = None
) -> Tensor:
    """The class token's attention to every token, `[B, N]`, in `[0, H]`.

    One row of the softmax is computed anew: far cheaper than keeping all N of them. The keys are
    read where they lie; a batched product would first sort them by head.

    Args:
        queries: of the class token, `[B, D]`.
        keys: `[B, N, D]`, heads side by side.
        heads: H.
        bias: added to every score of a key, `[B, N]`.
    """
    batch, tokens, width = keys.shape
    q = queries.reshape(batch, 1, heads, -1) * (width // heads) ** -0.5
    scores = torch.linalg.vecdot(keys.reshape(batch, tokens, heads, -1), q)  # [B, N, H]
    if bias is not None:
        scores = scores.float() + bias[..., None]
    return scores.float().softmax(1).sum(2)


def mean_importance(weights: Tensor) -> Tensor:
    """Mean over all queries, `[B, N]`, for towers without a class token.

    Args:
        weights: softmaxed attention `[B, H, N, N]`.
    """
    return weights.float().mean(2).sum(1)


def attend(layer: Layer, qkv: Tensor, *, class_token: bool) -> tuple[Tensor, Tensor]:
    """Pre-projection `[B, N, D]` and importance `[B, N]` of queries, keys, values `[B, N, 3D]`."""
    if not class_token:
        mixed, weights = layer.attend_weighted(qkv)
        return mixed, mean_importance(weights)
    width = qkv.shape[-1] // 3
    keys = qkv[..., width : 2 * width]
    return layer.attend(qkv), class_importance(qkv[:, 0, :width], keys, layer.heads)
