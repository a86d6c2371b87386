"""What tokens of a picture take over from those near them in the picture before."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.launch import runs_triton


def track(heat: Tensor, before: Tensor, now: Tensor, side: int, reach: int) -> Tensor:
    """Scores `[T, P]` of a frame's patches: the heat of the patch before that is most like each.

    Like is the largest dot product of patch embeddings among the places at most `reach` away; of
    equal ones the patch at the same place, then the first.

    Args:
        heat: float32 `[T, P]` of the frame before, P = side².
        before: `[T, P, D]`, its patch embeddings, contiguous.
        now: `[T, P, D]`, likewise.
        side: patches along an edge.
        reach: places that a patch may have moved.
    """
    if before.shape != now.shape or heat.shape != now.shape[:2] or heat.shape[1] != side**2:
        given = [tuple(each.shape) for each in (heat, before, now)]
        raise ValueError(f"expected [T, {side}²] and twice [T, {side}², D], got {given}")
    if not runs_triton(now):
        return track_reference(heat, before, now, side, reach)
    scores = torch.empty_like(heat)
    if scores.numel():
        _track_kernel[(scores.numel(),)](
            heat_ptr=heat,
            before_ptr=before,
            now_ptr=now,
            scores_ptr=scores,
            side=side,
            D=now.shape[2],
            REACH=reach,
            BLOCK_D=triton.next_power_of_2(now.shape[2]),
            num_warps=1,
        )
    return scores


def track_reference(heat: Tensor, before: Tensor, now: Tensor, side: int, reach: int) -> Tensor:
    """Define it, by shifted grids."""
    width = 2 * reach + 1
    places = torch.arange(width * width, device=now.device)
    order = torch.cat([places[width * width // 2].view(1), places[places != width * width // 2]])
    grid = before.transpose(1, 2).unflatten(2, (side, side))  # [T, D, side, side]
    padded = F.pad(grid, (reach,) * 4)
    inside = F.pad(torch.ones(side, side, dtype=torch.bool, device=now.device), (reach,) * 4)
    warm = F.pad(heat.unflatten(1, (side, side)), (reach,) * 4)
    like, found = [], []
    for place in order.tolist():
        down, right = divmod(place, width)
        cut = (slice(down, down + side), slice(right, right + side))
        there = padded[:, :, *cut].flatten(2).transpose(1, 2)
        dots = torch.linalg.vecdot(now.float(), there.float())
        like.append(dots.masked_fill(~inside[cut].flatten(), -torch.inf))
        found.append(warm[:, *cut].flatten(1))
    best = torch.stack(like).argmax(0, keepdim=True)
    return torch.stack(found).gather(0, best)[0]


@triton.jit
def _track_kernel(
    heat_ptr,  # [T, P]
    before_ptr,  # [T, P, D]
    now_ptr,  # [T, P, D]
    scores_ptr,  # [T, P]
    side,
    D: tl.constexpr,
    REACH: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    # one program per patch; the same place first, and others only where they are more like it
    at = tl.program_id(0).to(tl.int64)
    patches = side * side
    frame, place = at // patches, (at % patches).to(tl.int32)
    y, x = place // side, place % side
    d = tl.arange(0, BLOCK_D)
    own = tl.load(now_ptr + at * D + d, mask=d < D, other=0.0).to(tl.float32)
    there = tl.load(before_ptr + at * D + d, mask=d < D, other=0.0).to(tl.float32)
    best = tl.sum(own * there, 0)
    home = place
    for step in range((2 * REACH + 1) * (2 * REACH + 1)):
        row, column = y + step // (2 * REACH + 1) - REACH, x + step % (2 * REACH + 1) - REACH
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        other = row * side + column
        ptr = before_ptr + (frame * patches + other) * D + d
        there = tl.load(ptr, mask=(d < D) & inside, other=0.0).to(tl.float32)
        like = tl.where(inside, tl.sum(own * there, 0), float("-inf"))
        home = tl.where(like > best, other, home)
        best = tl.maximum(best, like)
    tl.store(scores_ptr + at, tl.load(heat_ptr + frame * patches + home))
