"""Attention by its changes: only rows and columns of tokens let through are multiplied."""

from torch import Tensor

from engine.vision.eventful.buffers import Buffers


def attend(buffers: Buffers, rows: Tensor | None) -> Tensor:
    """Pre-projections `[T, N, D]` after the queries, keys and values of these rows have changed.

    Scores are those of the buffered queries and keys. The sum over values is that of the columns
    as they were when their tokens were last let through, as published.

    Args:
        buffers: of one layer, `[T, …]`; changed in place.
        rows: `[T, r]`; None: all, with nothing known before.
    """
    batch, tokens, _ = buffers.qkv.shape
    heads = buffers.scores.shape[1]
    split = buffers.qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = split.unbind()
    q = q * q.shape[-1] ** -0.5
    if rows is None:
        buffers.scores.copy_(q @ k.transpose(-1, -2))
        buffers.weights.copy_(buffers.scores.softmax(-1))
        buffers.values.copy_(v)
        buffers.mixed.copy_(buffers.weights @ v)
    else:
        _rescore(buffers.scores, q, k, rows)
        _accumulate(buffers, v, rows)
    mixed = buffers.mixed.to(buffers.qkv.dtype)
    return mixed.transpose(1, 2).reshape(batch, tokens, -1)


def _rescore(scores: Tensor, q: Tensor, k: Tensor, rows: Tensor) -> None:
    """Multiply the rows' queries by all keys, and all queries by the rows' keys."""
    _, heads, tokens, width = q.shape
    at = rows[:, None, :, None].expand(-1, heads, -1, width)
    across = rows[:, None, :, None].expand(-1, heads, -1, tokens)
    scores.scatter_(2, across, q.gather(2, at) @ k.transpose(-1, -2))
    scores.scatter_(3, across.transpose(2, 3), q @ k.gather(2, at).transpose(-1, -2))


def _accumulate(buffers: Buffers, v: Tensor, rows: Tensor) -> None:
    """Replace what the rows' columns add to the sum: A' dV + dA V."""
    _, heads, tokens, width = v.shape
    at = rows[:, None, :, None].expand(-1, heads, -1, width)
    columns = rows[:, None, None, :].expand(-1, heads, tokens, -1)
    new = buffers.scores.softmax(-1).gather(3, columns)
    old = buffers.weights.gather(3, columns)
    now, before = v.gather(2, at), buffers.values.gather(2, at)
    buffers.mixed.add_(new @ (now - before)).add_((new - old) @ before)
    buffers.weights.scatter_(3, columns, new)
    buffers.values.scatter_(2, at, now)
