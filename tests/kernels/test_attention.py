"""Attention on packed rows: the kernel against its definition."""

import pytest
import torch

from kernels.attention import attend, attend_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5


def distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative error in the Frobenius norm; NaN never passes."""
    return float((ours.float() - expected).norm() / expected.norm())


def check(frames: int, tokens: int, heads: int, size: int) -> None:
    """Frames in any order within a strided table, over poisoned outputs."""
    torch.manual_seed(tokens)
    width = heads * size
    table = 2 * torch.randn((frames + 1) * tokens + 7, 4 * width).to(DEVICE, TYPE)
    qkv = table[:, width:]
    starts = torch.arange(frames, 0, -1, device=DEVICE) * tokens + 3
    used = (starts[:, None] + torch.arange(tokens, device=DEVICE)).flatten()
    spare = torch.ones(len(table), dtype=torch.bool, device=DEVICE).index_fill_(0, used, False)
    if DEVICE == "cuda":  # the interpreter warns of what it computes with them and drops
        table[spare] = float("nan")
    weights = torch.full((frames, heads, tokens), float("nan"), device=DEVICE)
    out = torch.full((frames * tokens, width), float("nan"), device=DEVICE, dtype=TYPE)
    attend(qkv, heads, tokens, starts=starts, out=out, weights=weights)
    expected, shares = out.float(), torch.empty_like(weights)
    attend_reference(qkv, heads, tokens, starts, expected, shares, False)
    assert distance(out, expected) <= TOLERANCE
    assert distance(weights, shares) <= TOLERANCE
    first = attend(qkv, heads, tokens, starts=starts, class_only=True)
    torch.testing.assert_close(first, out.view(frames, tokens, width)[:, 0])


@pytest.mark.parametrize(
    ("frames", "tokens", "heads", "size"),
    [
        (2, 2, 1, 16),
        (2, 5, 3, 16),
        (1, 130, 2, 64),
        (1, 197, 1, 16),
        (2, 82, 1, 16),
        (1, 129, 2, 16),
    ],
)
def test_attend_equals_reference(frames: int, tokens: int, heads: int, size: int) -> None:
    check(frames, tokens, heads, size)


@pytest.mark.gpu
@pytest.mark.parametrize(("tokens", "heads"), [(257, 16), (197, 12), (50, 12), (577, 16)])
def test_frames_of_real_towers(tokens: int, heads: int) -> None:
    check(5, tokens, heads, 64)


@pytest.mark.parametrize("tokens", [33, 82, 129])
@pytest.mark.parametrize("class_only", [False, True])
def test_nothing_is_written_of_a_frame_that_is_not_there(tokens: int, class_only: bool) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3 * tokens, 3 * 32).to(DEVICE, TYPE)
    rows = (1 if class_only else tokens, 32)
    expected = attend(qkv, 2, tokens, class_only=class_only).view(3, *rows)
    starts = torch.tensor([2 * tokens, -1, 0, -1], device=DEVICE)
    out = torch.full((4, *rows), 7.0, device=DEVICE, dtype=TYPE)
    weights = torch.full((4, 2, tokens), 7.0, device=DEVICE)
    options = {"starts": starts, "weights": weights, "class_only": class_only}
    attend(qkv, 2, tokens, out=out.view(-1, 32), **options)
    assert torch.equal(out[[0, 2]], expected[[2, 0]])
    assert (out[[1, 3]] == 7).all()
    assert (weights[[1, 3]] == 7).all()
    given = torch.full_like(out, 7.0)
    attend_reference(qkv, 2, tokens, starts, given.view(-1, 32), None, class_only)
    torch.testing.assert_close(given, out, rtol=TOLERANCE, atol=TOLERANCE)


def test_frames_that_follow_each_other() -> None:
    qkv = torch.randn(3 * 9, 3 * 32).to(DEVICE, TYPE)
    starts = torch.arange(0, 27, 9, device=DEVICE)
    torch.testing.assert_close(attend(qkv, 2, 9), attend(qkv, 2, 9, starts=starts))
    assert attend(qkv[:0], 2, 9).shape == (0, 32)


def test_rows_that_do_not_make_whole_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="whole frames"):
        attend(torch.zeros(10, 96), 2, 9)
    with pytest.raises(ValueError, match="expected"):
        attend(torch.zeros(9, 95), 2, 9)
