"""Eight bits: rows and weights in e4m3, units from bounds, and where it is allowed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import UsageError
from engine.vision.backbone.linear8 import LARGEST, Linear8
from engine.vision.backbone.precision import product_bound, quantise, unit_for
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.model import check_precision, load_model

SMALL = VisionConfig(3, 32, 2, 128, 4, 16, 24)


def make_tower(spread: float = 1.0) -> VisionTower:
    """Random weights; the LayerNorms' channels differ by `spread`."""
    torch.manual_seed(0)
    tower = VisionTower(SMALL)
    for parameter in tower.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    for index in range(SMALL.layers):
        with torch.no_grad():
            tower.layer(index).norm2.weight[3] *= spread
    return tower.eval().requires_grad_(False)


def drift(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest 1 - cosine."""
    return float((1 - torch.cosine_similarity(ours, exact)).max())


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_a_quantised_tower_stays_near_itself(spread: float) -> None:
    tower = make_tower(spread)
    values = torch.randn(5, 3, 16, 16)
    exact = tower(values)
    ours = quantise(tower)(values)
    assert 0 < drift(ours, exact) < 5e-3


def test_a_layer_is_its_own_within_rounding() -> None:
    linear, x = nn.Linear(64, 48), torch.randn(200, 64)
    for ours in (Linear8(linear), Linear8(linear, 1 / 8)):
        error = (ours(x) - linear(x)).norm() / (linear(x) - linear.bias).norm()
        assert 0.01 < error < 0.05


def test_zeros_stay_zeros() -> None:
    linear = nn.Linear(16, 4)
    assert torch.equal(Linear8(linear)(torch.zeros(3, 16)), linear.bias.expand(3, 4))


def test_a_row_of_zeros_in_the_weights_stays_one() -> None:
    linear = nn.Linear(16, 4)
    with torch.no_grad():
        linear.weight[2] = 0
    assert torch.equal(Linear8(linear)(torch.randn(3, 16))[:, 2], linear.bias[2].expand(3))


def test_no_row_exceeds_its_bound() -> None:
    norm, linear = nn.LayerNorm(32), nn.Linear(32, 128)
    nn.init.normal_(norm.weight, std=3)
    nn.init.normal_(norm.bias)
    rows = torch.cat([torch.randn(500, 32), 100 * torch.eye(32)])  # all in one channel, too
    largest = float(linear(norm(rows)).detach().abs().max())
    assert product_bound(norm, linear) / 8 < largest <= product_bound(norm, linear)


@pytest.mark.parametrize("bound", [0.0, 1e-3, 1.0, 358.4, 5e4])
def test_units_hold_what_rounding_adds(bound: float) -> None:
    unit = unit_for(bound)
    assert 1.25 * bound / unit <= LARGEST
    assert torch.tensor(unit).log2().frac() == 0


def test_bf16_on_a_cpu_is_the_same_space_and_nearly_the_same_vectors() -> None:
    full, half = (load_model("builtin", device="cpu", precision=p) for p in ("auto", "bf16"))
    assert (full.tower.dtype, half.tower.dtype) == (torch.float32, torch.bfloat16)
    assert {each.dtype for each in half.text.parameters()} == {torch.float32}
    assert full.space == half.space
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    one, other = full.embed_images(list(images)), half.embed_images(list(images))
    apart = 1 - (one * other).sum(1)
    assert 0 < apart.max() < 0.01


def test_it_is_refused_where_nothing_multiplies_it() -> None:
    with pytest.raises(UsageError, match=r"capability 8.9 or more, got cpu; allowed: bf16"):
        load_model("builtin", device="cpu", precision="fp8")
    check_precision("bf16", torch.device("cpu"), SMALL)


def test_its_vectors_are_a_space_of_their_own() -> None:
    full = load_model("builtin", device="cpu").space
    eight = replace(full, precision="fp8")
    assert eight.key != full.key
    assert replace(eight, precision="bf16").key == full.key


@pytest.mark.gpu
def test_the_builtin_model_in_eight_bits() -> None:
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs tensor cores for e4m3")
    images = [torch.randint(0, 256, (224, 224, 3), dtype=torch.uint8).numpy() for _ in range(9)]
    eight, full = (load_model(device="cuda", precision=name) for name in ("fp8", "bf16"))
    ours, exact = (torch.from_numpy(model.embed_images(images)) for model in (eight, full))
    assert 0 < drift(ours, exact) < 5e-3
    assert eight.space.key.startswith("builtin-fp8-")
