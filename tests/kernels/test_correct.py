"""Corrections of reused tokens: the kernel against its definition."""

import pytest
import torch

from kernels.correct import correct, correct_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5


def make_rows(rows: int, width: int, size: int):
    """A table of twice as many rows, the packed differences, and weights."""
    torch.manual_seed(rows + width)
    states = torch.randn(2 * rows + 3, 4 * width)
    difference = torch.randn(rows, width)
    order = torch.randperm(len(states)).int()
    down = torch.randn(4 * size, width) * width**-0.5
    up = torch.randn(4, size, width) * size**-0.5
    values = [t.to(DEVICE, TYPE) for t in (states, difference, down, up)]
    root = order[:rows][torch.randint(0, max(rows, 1), (rows,))] if rows else order[:0]
    return values, root.to(DEVICE), order[rows : 2 * rows].contiguous().to(DEVICE)


def check(rows: int, width: int, size: int, share: float) -> None:
    """Some of the rows only, against float32."""
    (states, difference, down, up), root, target = make_rows(rows, width, size)
    count = torch.tensor([int(rows * share)], dtype=torch.int32, device=DEVICE)
    expected = states.float()
    correct_reference(expected, difference.float(), root, target, down.float(), up.float(), count)
    correct(states, difference, root, target, down, up, count=count)
    error = (states.float() - expected).norm() / expected.norm()
    assert error <= TOLERANCE


@pytest.mark.parametrize(("rows", "width", "size"), [(0, 32, 16), (1, 32, 16), (70, 48, 16)])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_correct_equals_reference(rows: int, width: int, size: int, share: float) -> None:
    check(rows, width, size, share)


@pytest.mark.gpu
@pytest.mark.parametrize("width", [768, 1024])
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_rows_of_real_towers(width: int, share: float) -> None:
    check(5_003, width, 64, share)


def test_without_bottlenecks_rows_are_carried_over() -> None:
    (states, _, down, up), root, target = make_rows(9, 32, 16)
    expected = states.clone()
    expected[target.long()] = states[root.long()]
    correct(states, None, root, target, down[:0], up[:, :0])
    assert torch.equal(states, expected)


def test_no_difference_is_an_exact_copy() -> None:
    (states, difference, down, up), root, target = make_rows(40, 32, 16)
    correct(states, torch.zeros_like(difference), root, target, down, up)
    assert torch.equal(states[target.long()], states[root.long()])


def test_wrong_shapes_are_refused() -> None:
    (states, difference, down, up), root, target = make_rows(4, 32, 16)
    with pytest.raises(ValueError, match="expected"):
        correct(states[:, 1:], difference, root, target, down, up)
