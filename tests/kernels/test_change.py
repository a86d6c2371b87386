"""What measures change and chooses by it: each kernel against its definition."""

import pytest
import torch

from kernels.change import measure_change, measure_change_reference
from kernels.choose_rows import choose_rows, choose_rows_reference
from kernels.narrow import Norm

GPU = torch.cuda.is_available()
DEVICE, TYPE = ("cuda", torch.bfloat16) if GPU else ("cpu", torch.float32)
TOLERANCE = 1e-2 if GPU else 1e-5


def make_norm(width: int) -> Norm:
    weight, bias = torch.randn(2, width, device=DEVICE).to(TYPE)
    return Norm(weight, bias, 1e-5)


def check_change(frames: int, tokens: int, width: int, *, add: bool, norm: bool) -> None:
    """Strided tables, one frame being away."""
    torch.manual_seed(tokens)
    rows = frames * tokens
    x, kept, added = (
        torch.randn(rows, 2 * width, device=DEVICE).to(TYPE)[:, width:] for _ in range(3)
    )
    there = torch.ones(frames, dtype=torch.uint8, device=DEVICE)
    there[frames // 2] = 0
    given = {"added": added if add else None, "norm": make_norm(width) if norm else None}
    for absolute in (False, True):
        ours, theirs = x.clone(), x.clone()
        far = torch.full((frames, tokens), 7.0, device=DEVICE)
        measure_change(ours, kept, there, **given, absolute=absolute, out=far)
        expected = torch.full_like(far, 7.0)
        measure_change_reference(
            theirs, kept, there, given["added"], given["norm"], absolute, expected
        )
        torch.testing.assert_close(far, expected, rtol=TOLERANCE, atol=TOLERANCE)
        torch.testing.assert_close(ours, theirs)
        assert (far[frames // 2] == 7).all()
        assert torch.equal(ours, x) is not (add and frames > 1)


@pytest.mark.parametrize(("frames", "tokens", "width"), [(1, 3, 8), (3, 5, 24), (2, 17, 48)])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_changes_equal_reference(
    frames: int, tokens: int, width: int, add: bool, norm: bool
) -> None:
    check_change(frames, tokens, width, add=add, norm=norm)


@pytest.mark.gpu
def test_changes_of_real_towers() -> None:
    check_change(9, 257, 1024, add=True, norm=True)


@pytest.mark.parametrize("tokens", [1, 17, 70])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("ranked", "limit"), [(True, 0.0), (True, 6.0), (False, 4.0), (True, 99.0)]
)
def test_choices_equal_reference(tokens: int, keep: bool, ranked: bool, limit: float) -> None:
    torch.manual_seed(tokens)
    frames = 5
    distance = torch.randint(0, 9, (frames, tokens), device=DEVICE).float()  # many are equal
    if not ranked:
        distance[2, tokens - 1] = float("nan")
    there = torch.tensor([1, 0, 1, 1, 0], dtype=torch.uint8, device=DEVICE)
    full = torch.tensor([0, 0, 0, 1, 1], dtype=torch.uint8, device=DEVICE)
    found = []
    for choose in (choose_rows, choose_rows_reference):
        rows = torch.full((frames * tokens,), -1, dtype=torch.int32, device=DEVICE)
        count = torch.zeros(1, dtype=torch.int32, device=DEVICE)
        numbers = torch.zeros(frames, dtype=torch.int32, device=DEVICE)
        given = (distance, torch.tensor([limit], device=DEVICE), there, full, rows, count, numbers)
        if choose is choose_rows:
            choose_rows(*given, ranked=ranked, keep_first=keep)
        else:
            choose_rows_reference(*given, ranked, keep)
        found.append((sorted(rows[: int(count)].tolist()), int(count), numbers.tolist()))
        assert (rows[int(count) :] == -1).all()
    assert found[0] == found[1]
    assert found[0][2][1] == found[0][2][4] == 0
    assert found[0][2][3] == tokens
