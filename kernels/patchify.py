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
    _patchify_kernel[(num,)](
        pixels,
        mean,
        std,
        out,
        count,
        out.shape[1],
        S=size,
        P=patch,
        BLOCK=triton.next_power_of_2(out.shape[1]),
        num_warps=2,
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
    columns,
    S: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # one program per patch
    row = tl.program_id(0).to(tl.int64)
    if row < tl.load(count_ptr):
        side: tl.constexpr = S // P
        frame, cell = row // (side * side), row % (side * side)
        k = tl.arange(0, BLOCK)
        inside = k < 3 * P * P
        channel, y, x = k // (P * P), k % (P * P) // P, k % P
        corner = frame * (3 * S * S) + cell // side * (P * S) + cell % side * P
        byte = tl.load(pixels_ptr + corner + channel * (S * S) + y * S + x, mask=inside, other=0)
        mean = tl.load(mean_ptr + channel, mask=inside, other=0.0)
        std = tl.load(std_ptr + channel, mask=inside, other=1.0)
        value = tl.where(inside, (byte.to(tl.float32) / 255.0 - mean) / std, 0.0)
        tl.store(out_ptr + row * columns + k, value.to(out_ptr.dtype.element_ty), mask=k < columns)
