"""What patches take over from those near them: the kernel against one patch at a time."""

import pytest
import torch

from kernels.track import track

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(
    ("frames", "side", "width", "reach"), [(2, 3, 5, 1), (1, 5, 24, 2), (3, 4, 8, 0), (0, 3, 8, 1)]
)
def test_it_takes_the_heat_of_the_most_alike(
    frames: int, side: int, width: int, reach: int
) -> None:
    """Small whole numbers, so that many are equally alike and sums are exact."""
    generator = torch.Generator().manual_seed(side)
    heat = torch.rand(frames, side * side, generator=generator).to(DEVICE)
    shape = (2, frames, side * side, width)
    before, now = torch.randint(-1, 2, shape, generator=generator).float().to(DEVICE)
    got = track(heat, before, now, side, reach)
    for frame in range(frames):
        for at in range(side * side):
            y, x = divmod(at, side)
            near = [(y, x)] + [
                (y + i, x + j)
                for i in range(-reach, reach + 1)
                for j in range(-reach, reach + 1)
                if (i, j) != (0, 0)
            ]
            near = [(a, b) for a, b in near if 0 <= a < side and 0 <= b < side]
            likes = [float(now[frame, at] @ before[frame, a * side + b]) for a, b in near]
            a, b = near[likes.index(max(likes))]
            assert float(got[frame, at]) == float(heat[frame, a * side + b])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[T, 3²\]"):
        track(torch.zeros(1, 9), torch.zeros(1, 9, 4), torch.zeros(1, 4, 4), 3, 1)
