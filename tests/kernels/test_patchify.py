"""Patches against their definition; rows behind the count are left alone."""

import pytest
import torch

from kernels.launch import runs_triton
from kernels.patchify import patchify, patchify_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# where there is a GPU all of this belongs to its suite
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


@pytest.mark.parametrize(("frames", "size", "patch", "columns"), [(2, 12, 4, 48), (1, 6, 3, 32)])
@pytest.mark.parametrize("left_out", [0, 3])
def test_equals_the_definition(
    frames: int, size: int, patch: int, columns: int, left_out: int
) -> None:
    torch.manual_seed(size)
    pixels = torch.randint(256, (frames, 3, size, size), dtype=torch.uint8, device=DEVICE)
    mean, std = torch.rand(3, device=DEVICE), torch.rand(3, device=DEVICE) + 0.1
    rows = frames * (size // patch) ** 2
    count = torch.tensor([rows - left_out], dtype=torch.int32, device=DEVICE)
    given = torch.full((rows, columns), torch.nan, device=DEVICE)
    expected = given.clone()
    assert runs_triton(pixels)
    patchify(pixels, patch, mean, std, given, count=count)
    patchify_reference(pixels, patch, mean, std, expected, count=count)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert given[rows - left_out :].isnan().all()


def test_wrong_shapes_are_refused() -> None:
    pixels, three = torch.zeros(1, 3, 9, 9, dtype=torch.uint8), torch.ones(3)
    with pytest.raises(ValueError, match="3, S, S"):
        patchify(pixels, 4, three, three, torch.empty(4, 48), count=torch.tensor([1]))
