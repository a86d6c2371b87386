"""The fused dense forward: the tower's own embeddings, whatever the batch's company."""

import pytest
import torch

from engine.errors import UsageError
from engine.vision.backbone.precision import quantise
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.dense import FusedDense
from engine.vision.fused.frames import fitting_batch
from engine.vision.interpolate import Interpolate
from engine.vision.model import load_model
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk

SMALL = VisionConfig(2, 16, 1, 32, 4, 8, 8)
BIG = VisionConfig(4, 256, 4, 1024, 14, 224, 128)
# one layer of a bfloat16 tower rounds its rows by 2^-9; four layers stay within this
TOLERANCE = 2e-2
EIGHT = 0.1  # e4m3 by 2^-4


def make_tower(config: VisionConfig, *, device: str = "cpu") -> VisionTower:
    """Random weights, bfloat16 on a GPU."""
    torch.manual_seed(0)
    tower = VisionTower(config)
    for parameter in tower.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        elif parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.2)
    tower = tower.eval().requires_grad_(False).to(device)
    return tower.to(torch.bfloat16) if device == "cuda" else tower


def make_pixels(config: VisionConfig, frames: int, device: str = "cpu") -> torch.Tensor:
    """Noise."""
    shape = (frames, 3, config.image_size, config.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(device)


def distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative error in the Frobenius norm; NaN never passes."""
    return float((ours.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("pre_norm", [True, False])
def test_small_tower_equals_itself(pre_norm: bool) -> None:
    config = VisionConfig(2, 16, 1, 32, 4, 8, 8 if pre_norm else 16, pre_norm=pre_norm,
                          projection=pre_norm, patch_bias=not pre_norm)  # fmt: skip
    tower = make_tower(config)
    pixels = make_pixels(config, 3)
    ours = FusedDense(tower, 2).encode(pixels)
    assert distance(ours, tower(tower.normalise(pixels))) <= 1e-5


def test_a_tower_without_class_token_is_refused() -> None:
    tower = make_tower(VisionConfig(1, 16, 1, 32, 4, 8, 16, class_token=False, projection=False))
    with pytest.raises(UsageError, match="class token"):
        FusedDense(tower, 2)


def test_heads_that_the_kernels_cannot_split_are_refused() -> None:
    tower = make_tower(VisionConfig(1, 24, 1, 32, 4, 8, 8))
    with pytest.raises(UsageError, match="power of two"):
        FusedDense(tower, 2)


def test_smaller_batches_where_memory_is_short() -> None:
    large = VisionConfig(24, 1024, 16, 4096, 14, 336, 768)
    assert fitting_batch(large, 141 * 10**9) == 256
    assert 1 <= fitting_batch(large, 2 * 10**9) < 256


def test_eight_bits_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernels' definitions: Triton's interpreter does not round to e4m3 as a GPU does."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tower, pixels = make_tower(SMALL), make_pixels(SMALL, 3)
    exact = tower(tower.normalise(pixels))
    eight = quantise(tower)
    plain = eight(eight.normalise(pixels))
    ours = FusedDense(eight, 2).encode(pixels)
    # a sum's last bit may move what is rounded behind it
    assert distance(ours, plain) <= 5e-3 < distance(ours, exact) < 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("image_size", [224, 196])
def test_equals_the_tower_in_higher_precision(image_size: int) -> None:
    config = VisionConfig(4, 256, 4, 1024, 14, image_size, 128)
    tower = make_tower(config, device="cuda")
    pixels = make_pixels(config, 37, "cuda")
    ours = FusedDense(tower, 16).encode(pixels)
    exact = tower.float()
    assert distance(ours, exact(exact.normalise(pixels))) <= TOLERANCE


def test_interpolation_goes_by_it() -> None:
    tower = make_tower(SMALL)
    fused = Dense(tower, fused=FusedDense(tower, 4))
    clip = [Chunk(make_pixels(SMALL, 7, "cpu"), last=True)]
    [ours], [plain] = Interpolate(tower, 2, fused).encode(clip), Interpolate(tower, 2).encode(clip)
    assert distance(ours.embeddings, plain.embeddings) <= 1e-5
    assert torch.equal(ours.full, plain.full)


@pytest.mark.gpu
def test_pictures_of_the_builtin_model_are_those_of_the_cpu() -> None:
    images = [make_pixels(BIG, 1, "cpu")[0].permute(1, 2, 0).numpy() for _ in range(40)]
    ours, plain = (load_model(device=device).embed_images(images) for device in ("cuda", "cpu"))
    assert (1 - (ours * plain).sum(1)).max() < 3e-3


@pytest.mark.gpu
def test_eight_bits_on_a_gpu() -> None:
    tower, pixels = make_tower(BIG, device="cuda"), make_pixels(BIG, 37, "cuda")
    exact = tower(tower.normalise(pixels))
    eight = quantise(tower)
    plain = eight(eight.normalise(pixels))
    ours = FusedDense(eight, 16).encode(pixels)
    # bfloat16 in other places moves what is rounded to e4m3 behind it
    assert distance(ours, plain) <= EIGHT
    assert distance(ours, exact) <= EIGHT


@pytest.mark.gpu
@pytest.mark.parametrize("eight", [False, True])
def test_company_and_batch_size_change_nothing(*, eight: bool) -> None:
    tower = make_tower(BIG, device="cuda")
    pixels = make_pixels(BIG, 20, "cuda")
    dense = FusedDense(quantise(tower) if eight else tower, 16)
    together = dense.encode(pixels)
    order = torch.randperm(20, device="cuda")
    assert torch.equal(dense.encode(pixels[order]), together[order])
    alone = torch.cat([dense.encode(pixels[at : at + 1]) for at in range(20)])
    assert torch.equal(alone, together)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_waits_for_nothing() -> None:
    tower = make_tower(BIG, device="cuda")
    dense = FusedDense(tower, 8)
    pixels = make_pixels(BIG, 8, "cuda")
    dense.encode(pixels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        dense.encode(pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
