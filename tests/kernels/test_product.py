"""Products of packed rows whose number the device knows: the kernel against its definition."""

import pytest
import torch

from kernels.product import product, product_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5


def check(
    rows: int,
    columns: int,
    inner: int,
    num: int | None,
    activation: str | None,
    *,
    eight: bool = False,
) -> None:
    """Scatter into a poisoned strided table, with a gathered residual."""
    torch.manual_seed(rows + columns)
    x, weight = torch.randn(rows, inner), torch.randn(columns, inner) * inner**-0.5
    scale = units = None
    if eight:
        x, weight = 8 * x, 64 * weight
        scale, units = (torch.rand(columns + rows, device=DEVICE) + 0.5).split([columns, rows])
        scale = scale / 512
    kind = torch.float8_e4m3fn if eight else TYPE
    x, weight = x.to(DEVICE, kind), weight.to(DEVICE, kind)
    bias = torch.randn(columns, device=DEVICE).to(TYPE)
    residual = torch.randn(rows + 9, columns, device=DEVICE).to(TYPE)
    order = torch.randperm(rows + 9, device=DEVICE).int()
    source, target = order[:rows].contiguous(), order.flip(0)[:rows].contiguous()
    count = None if num is None else torch.tensor([num], dtype=torch.int32, device=DEVICE)
    if num is not None:  # of a tile they are computed with the others, and not stored
        x[num:] = float("nan" if eight else "inf")
    table = torch.full((rows + 9, 2 * columns), float("nan"), device=DEVICE, dtype=TYPE)
    ours = table[:, columns:]
    product(
        x, weight, bias, scale=scale, units=units, activation=activation, residual=residual,
        source=source, out=ours, target=target, count=count,
    )  # fmt: skip
    expected = torch.full((rows + 9, columns), float("nan"), device=DEVICE)
    product_reference(
        x, weight, bias, scale, units, activation, None, residual, source, expected, target, count
    )
    assert torch.equal(ours.isnan(), expected.isnan())
    assert table[:, :columns].isnan().all()
    error = (ours.float() - expected).nan_to_num().norm()
    assert error <= TOLERANCE * expected.nan_to_num().norm()


@pytest.mark.parametrize("num", [None, 0, 1, 129])
@pytest.mark.parametrize("eight", [False, True])
def test_product_equals_reference(num: int | None, *, eight: bool) -> None:
    check(150, 192, 64, num, "quick_gelu", eight=eight)


@pytest.mark.parametrize("activation", [None, "gelu", "gelu_tanh", "relu"])
def test_activations(activation: str | None) -> None:
    check(3, 128, 32, None, activation)


def test_wide_columns_in_halves() -> None:
    check(70, 512, 72, 65, "quick_gelu")


def test_plain_product_without_bias() -> None:
    x = torch.randn(65, 64, device=DEVICE).to(TYPE)
    weight = torch.randn(256, 64, device=DEVICE).to(TYPE)
    expected = x.float() @ weight.float().T
    error = (product(x, weight).float() - expected).norm() / expected.norm()
    assert error <= TOLERANCE
    assert product(x[:0], weight).shape == (0, 256)


@pytest.mark.parametrize("kind", [TYPE, torch.float8_e4m3fn])
def test_a_row_does_not_depend_on_its_place(kind: torch.dtype) -> None:
    # without a GPU the interpreter multiplies by the processor's library, which may sum a row in
    # an order of its place: sums of small whole numbers are exact in any order
    if torch.cuda.is_available():
        x, weight = torch.randn(200, 64, device=DEVICE), torch.randn(256, 64, device=DEVICE)
    else:
        x, weight = torch.randint(-8, 9, (456, 64)).float().split([200, 256])
    x, weight = x.to(kind), weight.to(kind)
    order = torch.randperm(200, device=DEVICE)
    ours, moved = torch.empty(2, 200, 256, device=DEVICE)
    assert torch.equal(product(x, weight, out=ours)[order], product(x[order], weight, out=moved))
    assert torch.equal(product(x[7:8], weight, out=moved[:1])[0], ours[7])


def test_rows_in_e4m3_for_the_next_product() -> None:
    x, weight = torch.randint(-1, 2, (2, 90, 32), device=DEVICE).to(torch.float8_e4m3fn)
    scale, bias = torch.full((90,), 2.0, device=DEVICE), torch.ones(90, device=DEVICE)
    ours = torch.full((90, 90), float("nan"), device=DEVICE).to(torch.float8_e4m3fn)
    product(x, weight, bias, scale=scale, activation="relu", factor=0.25, out=ours)
    exact = (x.float() @ weight.float().T * 2 + 1).relu() / 4
    close = (ours.float() - exact).abs() <= exact * 2**-4  # whole numbers are exact up to 16
    assert close.all()


@pytest.mark.gpu
def test_rounding_to_e4m3_is_to_the_nearest() -> None:
    x = torch.randn(3_000, 256, device=DEVICE).to(torch.float8_e4m3fn)
    weight = torch.randn(512, 256, device=DEVICE).to(torch.float8_e4m3fn)
    scale = torch.full((512,), 1 / 16, device=DEVICE)
    ours = torch.empty(3_000, 512, device=DEVICE, dtype=torch.float8_e4m3fn)
    product(x, weight, scale=scale, activation="quick_gelu", factor=8.0, out=ours)
    exact = torch.empty(3_000, 512, device=DEVICE)
    product_reference(
        x, weight, None, scale, None, "quick_gelu", 8.0, None, None, exact, None, None
    )
    assert (ours.float() == exact.to(ours.dtype).float()).float().mean() > 0.95
    assert not ours.isnan().any()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(65_792, 1024, 592), (6_811, 3072, 1024), (1_000, 768, 3072)])
@pytest.mark.parametrize("share", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("eight", [False, True])
def test_products_of_real_towers(shape: tuple[int, int, int], share: float, *, eight: bool) -> None:
    check(*shape, int(share * shape[0]), "quick_gelu", eight=eight)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        product(torch.zeros(3, 4), torch.zeros(3, 5))
