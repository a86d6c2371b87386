"""Products of packed rows whose number the device knows: the kernel against its definition."""

import pytest
import torch

from kernels.product import product, product_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5


def check(rows: int, columns: int, inner: int, num: int | None, activation: str | None) -> None:
    """Scatter into a poisoned strided table, with a gathered residual."""
    torch.manual_seed(rows + columns)
    x, weight = torch.randn(rows, inner), torch.randn(columns, inner) * inner**-0.5
    x, weight = x.to(DEVICE, TYPE), weight.to(DEVICE, TYPE)
    bias = torch.randn(columns, device=DEVICE).to(TYPE)
    residual = torch.randn(rows + 9, columns, device=DEVICE).to(TYPE)
    order = torch.randperm(rows + 9, device=DEVICE).int()
    source, target = order[:rows].contiguous(), order.flip(0)[:rows].contiguous()
    count = None if num is None else torch.tensor([num], dtype=torch.int32, device=DEVICE)
    table = torch.full((rows + 9, 2 * columns), float("nan"), device=DEVICE, dtype=TYPE)
    ours = table[:, columns:]
    product(
        x, weight, bias, activation=activation, residual=residual, source=source, out=ours,
        target=target, count=count,
    )  # fmt: skip
    expected = torch.full((rows + 9, columns), float("nan"), device=DEVICE)
    product_reference(x, weight, bias, activation, residual, source, expected, target, count)
    assert torch.equal(ours.isnan(), expected.isnan())
    assert table[:, :columns].isnan().all()
    error = (ours.float() - expected).nan_to_num().norm()
    assert error <= TOLERANCE * expected.nan_to_num().norm()


@pytest.mark.parametrize("num", [None, 0, 1, 129])
def test_product_equals_reference(num: int | None) -> None:
    check(150, 192, 64, num, "quick_gelu")


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


def test_a_row_does_not_depend_on_its_place() -> None:
    x = torch.randn(200, 64, device=DEVICE).to(TYPE)
    weight = torch.randn(256, 64, device=DEVICE).to(TYPE)
    order = torch.randperm(200, device=DEVICE)
    assert torch.equal(product(x, weight)[order], product(x[order], weight))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(65_792, 1024, 592), (6_811, 3072, 1024), (1_000, 768, 3072)])
@pytest.mark.parametrize("share", [0.0, 0.37, 1.0])
def test_products_of_real_towers(shape: tuple[int, int, int], share: float) -> None:
    check(*shape, int(share * shape[0]), "quick_gelu")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        product(torch.zeros(3, 4), torch.zeros(3, 5))
