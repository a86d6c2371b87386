"""LayerNorm of chosen rows: the kernel against its definition."""

import pytest
import torch

from kernels.norm import normalise, normalise_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5
# e4m3 rounds by 2^-4 at most; Triton's interpreter halves what would round up to a power of two
CARRY = 2**-4 if torch.cuda.is_available() else 0.5


def check(rows: int, width: int, num: int | None) -> None:
    """Gather from and scatter to strided tables, the latter poisoned."""
    torch.manual_seed(rows)
    num = None if num is None else min(num, rows)
    table = (5 + 3 * torch.randn(rows + 4, 2 * width)).to(DEVICE, TYPE)
    weight, bias = torch.randn(2, width, device=DEVICE).to(TYPE)
    source = torch.randint(0, rows + 4, (rows,), device=DEVICE).int()
    if num is not None:
        source[num:] = 2**30  # not there, so never followed
    count = None if num is None else torch.tensor([num], dtype=torch.int32, device=DEVICE)
    target = torch.randperm(rows + 2, device=DEVICE)[:rows].int()
    holder = torch.full((rows + 2, 2 * width), float("nan"), device=DEVICE, dtype=TYPE)
    x, ours = table[:, width:], holder[:, :width]
    expected = ours.float()
    normalise(x, weight, bias, 1e-5, source=source, out=ours, target=target, count=count)
    normalise_reference(x, weight, bias, 1e-5, source, expected, None, target, count)
    assert torch.equal(ours.isnan(), expected.isnan())
    assert holder[:, width:].isnan().all()
    difference = (ours.float() - expected).nan_to_num().norm()
    assert difference <= TOLERANCE * expected.nan_to_num().norm() + 1e-6


@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 1), (7, 48), (33, 192)])
@pytest.mark.parametrize("num", [None, 0, 1])
def test_normalise_equals_reference(rows: int, width: int, num: int | None) -> None:
    check(rows, width, num)


@pytest.mark.gpu
@pytest.mark.parametrize("width", [768, 1024])
@pytest.mark.parametrize("num", [None, 0, 6_811])
def test_rows_of_real_towers(width: int, num: int | None) -> None:
    check(20_001, width, num)


@pytest.mark.parametrize("num", [None, 0, 20])
def test_rows_in_e4m3(num: int | None) -> None:
    x, kind = 3 * torch.randn(33, 48, device=DEVICE).to(TYPE), torch.float8_e4m3fn
    x[4] = 5  # nothing is left of it
    weight, bias = torch.randn(2, 48, device=DEVICE).to(TYPE)
    bias[:] = 0
    target = torch.randperm(40, device=DEVICE)[:33].int()
    count = None if num is None else torch.tensor([num], dtype=torch.int32, device=DEVICE)
    ours, units = (
        torch.full((40, 48), 7.0, device=DEVICE).to(kind),
        torch.full((40,), 3.0).to(DEVICE),
    )
    normalise(x, weight, bias, 1e-5, out=ours, units=units, target=target, count=count)
    exact = torch.full((40, 48), 21.0, device=DEVICE)
    normalise_reference(x, weight, bias, 1e-5, None, exact, None, target, count)
    close = (units[:, None] * ours.float() - exact).abs() <= exact.abs() * CARRY + units[
        :, None
    ] / 256
    assert close.all()
    written = target[:num].long()
    assert torch.allclose(units[written], (exact[written].abs().amax(1) / 448).clamp_min(1e-30))
    assert (units.index_fill(0, written, 3.0) == 3).all()


@pytest.mark.gpu
def test_rows_in_e4m3_are_rounded_to_the_nearest() -> None:
    x = torch.randn(20_001, 1024, device=DEVICE).to(TYPE)
    weight, bias = torch.randn(2, 1024, device=DEVICE).to(TYPE)
    kind = torch.float8_e4m3fn
    ours, expected = (torch.empty(20_001, 1024, device=DEVICE, dtype=kind) for _ in range(2))
    units, others = torch.empty(2, 20_001, device=DEVICE)
    normalise(x, weight, bias, 1e-5, out=ours, units=units)
    normalise_reference(x, weight, bias, 1e-5, None, expected, others, None, None)
    assert torch.allclose(units, others)
    assert (ours.float() == expected.float()).float().mean() > 0.99
    assert ours.float().abs().amax(1).eq(448).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        normalise(torch.zeros(3, 4), torch.zeros(5), torch.zeros(5), 1e-5)
