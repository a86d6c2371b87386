"""Reused tokens: the source's hidden state, query, key and value, each with its correction."""

from torch import Tensor


def restore(
    states: Tensor,
    mixed: Tensor,
    roots: Tensor,
    sources: Tensor,
    rows: Tensor,
    down: Tensor,
    up: Tensor,
) -> None:
    """Write the states of the tokens `rows` in place; all other rows stay as they are.

    Tables hold the B cached references first, then the T frames of a group (see `select`); row
    `r` of the flattened table is token `r % N` of entry `r // N`. Each source row must hold its
    final value already, and none may be among `rows`.

    Args:
        states: `[B + T, N, 4D]`, h, q, k and v side by side.
        mixed: pre-projections `[B + T, N, D]`.
        roots: int32 `[T, N]`, the row whose pre-projection the token's is compared with.
        sources: int32 `[T, N]`, the row whose states it takes.
        rows: int32 or int64 `[R]`, rows of the tables to write, in any order.
        down: weights `[4C, D]` of the four bottlenecks, C wide, for h, q, k and v.
        up: their weights `[4, C, D]` back to D.
    """
    if states.ndim != 3 or states.shape[-1] != 4 * mixed.shape[-1]:
        raise ValueError(f"expected [B + T, N, 4D], got {states.shape = } for {mixed.shape = }")
    if up.shape[0] * up.shape[1] != down.shape[0] or up.shape[2] != mixed.shape[-1]:
        raise ValueError(f"expected [4C, D] and [4, C, D], got {down.shape = } and {up.shape = }")
    restore_reference(states, mixed, roots, sources, rows, down, up)


def restore_reference(
    states: Tensor,
    mixed: Tensor,
    roots: Tensor,
    sources: Tensor,
    rows: Tensor,
    down: Tensor,
    up: Tensor,
    *,
    block: int = 512,
) -> None:
    """`x = x_source + U_x ReLU(V_x (P - P_root))` for x in h, q, k, v, a block of rows at a time.

    Blocks keep the rows in the processor's cache between the gather, the products and the store.
    """
    width = mixed.shape[-1]
    table, values = states.flatten(0, 1), mixed.flatten(0, 1)
    cached = values.shape[0] - roots.numel()
    for part in rows.split(block):
        at = part - cached
        root, source = roots.flatten().index_select(0, at), sources.flatten().index_select(0, at)
        if not len(down):  # nothing to correct with
            table.index_copy_(0, part.long(), table.index_select(0, source))
            continue
        difference = values.index_select(0, part).sub_(values.index_select(0, root))
        narrow = (difference @ down.T).relu_().view(len(part), *up.shape[:2])
        result = table.index_select(0, source)
        for which in range(4):
            result[:, which * width : (which + 1) * width].addmm_(narrow[:, which], up[which])
        table.index_copy_(0, part.long(), result)
