"""Resizing on the GPU gives the CPU's bytes, but for rounding."""

import pytest
import torch

from engine.vision.preprocess import Preprocessing, prepare_batch

CLIP = Preprocessing(224, 224, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
SQUASH = Preprocessing(256, 256, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), mode="squash")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (241, 321), (224, 224), (90, 400)])
@pytest.mark.parametrize("preprocessing", [CLIP, SQUASH], ids=["crop", "squash"])
def test_differs_by_one_level_at_most(shape: tuple[int, int], preprocessing: Preprocessing) -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (2, *shape, 3), dtype=torch.uint8)
    images[1] = (torch.arange(shape[1]) * 255 // shape[1])[None, :, None].to(torch.uint8)
    on_cpu = prepare_batch(images, preprocessing)
    on_gpu = prepare_batch(images.cuda(), preprocessing)
    assert on_gpu.is_cuda
    difference = (on_cpu.int() - on_gpu.cpu().int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.1
