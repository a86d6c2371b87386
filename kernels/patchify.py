"""Bytes of frames to rows of normalised values, one row for each patch."""

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import runs_triton


def patchify(
    pixels: Tensor, patch: int, mean: Tensor, std: Tensor, out: Tensor, *, count: Tensor
) -> None:
    """Write the first `count` patches, `(x / 255 - mean) / std`, channel by channel.

    Args:
        pixels: uint8 `[F, 3, S, S]`, contiguous.
        patch: edge of a patch; it divides S.
        mean: float32 `[3]`.
        std: float32 `[3]`.
        out: `[M, K]`, K at least `3 patch²`; further columns are set to zero.
        count: int32 `[1]`, how many rows are written, on the device.
    """
    frames, channels, size, _ = pixels.shape
    num = frames * (size // patch) ** 2
    if channels != 3 or size % patch or out.shape[1] < 3 * patch**2 or len(out) < num:
        raise ValueError(f"expected [F, 3, S, S] and [M, K], got {pixels.shape = }, {out.shape = }")
    if not runs_triton(pixels):
        return patchify_reference(pixels, patch, mean, std, out, count=count)
    _patchify_kernel[(frames * (size // patch),)](
        pixels_ptr=pixels,
        mean_ptr=mean,
        std_ptr=std,
        out_ptr=out,
        count_ptr=count,
        S=size,
        P=patch,
        K=out.shape[1],
        BLOCK_S=triton.next_power_of_2(size),
        BLOCK_P=triton.next_power_of_2(patch),
        BLOCK_K=triton.next_power_of_2(max(1, out.shape[1] - 3 * patch**2)),
        num_warps=4,
    )
    return None


def patchify_reference(
    pixels: Tensor, patch: int, mean: Tensor, std: Tensor, out: Tensor, *, count: Tensor
) -> None:
    """Normalise in float32, cut and flatten as the tower's patch embedding expects it."""
    frames, side, rows = len(pixels), pixels.shape[2] // patch, int(count)
    values = (pixels.float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    grid = values.view(frames, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
    out[:rows] = 0
    out[:rows, : 3 * patch**2] = grid.reshape(frames * side * side, -1)[:rows].to(out.dtype)


@triton.jit
def _patchify_kernel(
    pixels_ptr,  # [F, 3, S, S]
    mean_ptr,  # [3]
    std_ptr,  # [3]
    out_ptr,  # [M, K]
    count_ptr,  # [1]
    S: tl.constexpr,
    P: tl.constexpr,
    K: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # one program per row of patches, which reads whole rows of pixels
    side: tl.constexpr = S // P
    first = tl.program_id(0).to(tl.int64) * side
    frame, cell_y = tl.program_id(0).to(tl.int64) // side, tl.program_id(0) % side
    count = tl.load(count_ptr)
    if first < count:
        x = tl.arange(0, BLOCK_S)[None, :]
        y = tl.arange(0, BLOCK_P)[:, None]
        row = first + x // P
        mask = (y < P) & (x < S) & (row < count)
        for channel in tl.static_range(3):
            at = (frame * 3 + channel) * (S * S) + (cell_y * P + y) * S + x
            value = tl.load(pixels_ptr + at, mask=mask, other=0).to(tl.float32) / 255.0
            value = (value - tl.load(mean_ptr + channel)) / tl.load(std_ptr + channel)
            at = row * K + channel * (P * P) + y * P + x % P
            tl.store(out_ptr + at, value.to(out_ptr.dtype.element_ty), mask=mask)
        if K > 3 * P * P:
            row = first + tl.arange(0, BLOCK_S)[:, None]
            k = 3 * P * P + tl.arange(0, BLOCK_K)[None, :]
            mask = (row < first + side) & (row < count) & (k < K)
            zero = tl.zeros((BLOCK_S, BLOCK_K), dtype=out_ptr.dtype.element_ty)
            tl.store(out_ptr + row * K + k, zero, mask=mask)
