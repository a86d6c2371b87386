"""Resizing on the GPU gives the CPU's bytes, but for rounding."""

import pytest
import torch
from torch.nn import functional as F

from engine.vision.backbone.preprocess import Preprocessing, prepare_batch, resize_float

CLIP = Preprocessing(224, 224, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
SQUASH = Preprocessing(256, 256, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), mode="squash")


SHAPES = [(480, 640), (1080, 1920), (241, 321), (224, 224), (90, 400)]
MODES = pytest.mark.parametrize("preprocessing", [CLIP, SQUASH], ids=["crop", "squash"])


def pictures(height: int, width: int) -> torch.Tensor:
    """Noise, the hardest case, and a ramp: bytes `[2, H, W, 3]`."""
    torch.manual_seed(0)
    images = torch.randint(256, (2, height, width, 3), dtype=torch.uint8)
    images[1] = (torch.arange(width) * 255 // width)[None, :, None].to(torch.uint8)
    return images


def check(given: torch.Tensor, expected: torch.Tensor, levels: int) -> None:
    difference = (given.int() - expected.int()).abs()
    assert difference.max() <= levels
    assert (difference > 0).float().mean() < 0.01


@MODES
@pytest.mark.parametrize("shape", SHAPES)
def test_the_float_resize_rounds_as_bytes_do(
    shape: tuple[int, int], preprocessing: Preprocessing
) -> None:
    pixels = pictures(*shape).permute(0, 3, 1, 2)
    target = preprocessing.resize, preprocessing.resize
    expected = F.interpolate(pixels, target, mode="bicubic", antialias=True, align_corners=False)
    check(resize_float(pixels, target, preprocessing), expected, 1 + (shape[0] < target[0]))


@pytest.mark.gpu
@MODES
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gpu_gives_the_cpus_bytes(shape: tuple[int, int], preprocessing: Preprocessing) -> None:
    images = pictures(*shape)
    on_gpu = prepare_batch(images.cuda(), preprocessing)
    assert on_gpu.is_cuda
    enlarged = shape[0] < preprocessing.resize
    check(on_gpu.cpu(), prepare_batch(images, preprocessing), 1 + enlarged)
