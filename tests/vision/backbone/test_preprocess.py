"""Preprocessing equals the models' own processors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from engine.errors import ModelError
from engine.vision.backbone.preprocess import Preprocessing, prepare, prepare_batch

CLIP = Preprocessing.from_config(CLIPImageProcessorPil().to_dict())
SIGLIP = Preprocessing.from_config(SiglipImageProcessorPil().to_dict())


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw noise over a gradient, so that both edges and flats occur."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] * np.ones((height, 1, 3))
    return (ramp + rng.integers(0, 56, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (241, 321), (224, 224), (90, 400)])
@pytest.mark.parametrize(
    ("processor", "ours"),
    [(CLIPImageProcessorPil(), CLIP), (SiglipImageProcessorPil(), SIGLIP)],
    ids=["clip", "siglip"],
)
def test_equals_the_models_own_processor(processor, ours, shape) -> None:
    image = picture(*shape)
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    levels = expected * np.array(ours.std)[:, None, None] + np.array(ours.mean)[:, None, None]
    assert np.abs(levels * 255 - prepare(image, ours).numpy()).max() <= 1.01


@pytest.mark.parametrize("shape", [(7, 401), (400, 7), (14, 3000), (4, 65)])
def test_lines_are_shortened_first_and_come_out_the_same(shape) -> None:
    image = picture(*shape)
    long = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    target = tuple(224 * edge // min(shape) for edge in shape)
    whole = torch.nn.functional.interpolate(long, target, mode="bicubic", antialias=True)
    top, left = ((edge - 224) // 2 for edge in target)
    expected = whole[0, :, top : top + 224, left : left + 224]
    assert torch.equal(prepare(image, CLIP), expected)


@given(height=st.integers(1, 300), width=st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_any_size_gives_the_square(height: int, width: int) -> None:
    for preprocessing in (CLIP, SIGLIP):
        pixels = prepare(picture(height, width), preprocessing)
        assert pixels.shape == (3, 224, 224)
        assert pixels.dtype == torch.uint8


def test_a_batch_equals_its_pictures() -> None:
    images = np.stack([picture(120, 160, seed) for seed in range(3)])
    batch = prepare_batch(torch.from_numpy(images), CLIP)
    assert torch.equal(batch, torch.stack([prepare(image, CLIP) for image in images]))


def test_the_older_form_of_the_config_is_read() -> None:
    old = {"size": 224, "crop_size": 224, "image_mean": CLIP.mean, "image_std": CLIP.std}
    assert Preprocessing.from_config(old) == CLIP


@pytest.mark.parametrize(
    "config", [{"resample": 1}, {"rescale_factor": 1.0}, {"size": {"height": 2, "width": 3}}]
)
def test_what_is_not_supported_is_refused(config) -> None:
    with pytest.raises(ModelError, match="allowed"):
        Preprocessing.from_config(config)


@pytest.mark.parametrize("shape", [(10, 10, 3), (1, 10, 10, 4)])
def test_pictures_of_another_form_are_refused(shape) -> None:
    with pytest.raises(ValueError, match="expected bytes"):
        prepare_batch(torch.zeros(shape, dtype=torch.uint8), CLIP)


@pytest.mark.gpu
def test_gpu_is_within_one_level_of_cpu() -> None:
    images = torch.from_numpy(np.stack([picture(480, 640, seed) for seed in range(4)]))
    cpu = prepare_batch(images, CLIP).int()
    gpu = prepare_batch(images.cuda(), CLIP).int().cpu()
    assert (cpu - gpu).abs().max() <= 1
