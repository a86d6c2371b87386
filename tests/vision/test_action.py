"""Video classifiers equal transformers' own, and a folder that does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    PreTrainedModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    ViTConfig,
    ViTForImageClassification,
    VivitConfig,
    VivitForVideoClassification,
    VivitImageProcessor,
)
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from engine.errors import ModelError, UsageError
from engine.vision.action import load_action_model
from engine.vision.backbone.plain import load_classes, load_plain
from engine.vision.backbone.preprocess import Preprocessing, prepare
from engine.vision.backbone.video import sine_positions

SHAPE: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "image_size": 32,
    "id2label": {0: "falling", 1: "rising", 2: "turning", 3: "waiting"},
}
VIDEO = SHAPE | {"num_frames": 6}
CROP = {"height": 32, "width": 32}


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """Give every weight a random value, those that start as zeros and ones too."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.eval()


def videomae() -> PreTrainedModel:
    return shaken(VideoMAEForVideoClassification(VideoMAEConfig(patch_size=8, **VIDEO)))


def vivit() -> PreTrainedModel:
    return shaken(VivitForVideoClassification(VivitConfig(tubelet_size=[2, 8, 8], **VIDEO)))


def store(model: PreTrainedModel, processor: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Store a tiny model of each family as Hugging Face's libraries do."""
    path = tmp_path_factory.mktemp("video")
    crop = {"size": {"shortest_edge": 36}, "crop_size": CROP}
    return {
        "videomae": store(videomae(), VideoMAEImageProcessorPil(**crop), path / "videomae"),
        "vivit": store(vivit(), VivitImageProcessor(**crop), path / "vivit"),
    }


@pytest.mark.parametrize(("family", "make"), [("videomae", videomae), ("vivit", vivit)])
def test_it_equals_transformers(folders: dict[str, Path], family: str, make: Any) -> None:
    """From the stored folder, and from pixels: each side prepares the frames by itself."""
    random = np.random.default_rng(5)
    frames = random.integers(0, 256, (2, 6, 48, 64, 3), dtype=np.uint8)
    processors = {"videomae": VideoMAEImageProcessorPil, "vivit": VivitImageProcessor}
    processor = processors[family].from_pretrained(folders[family])
    values = processor([list(clip) for clip in frames], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        theirs = make()(values).logits.softmax(-1)
    model = load_action_model(str(folders[family]), device="cpu")
    clips = torch.stack(
        [torch.stack([prepare(f, model.preprocessing) for f in clip]) for clip in frames]
    )
    torch.testing.assert_close(model.classify(clips), theirs, rtol=0, atol=1e-5)
    kept = model.classify(clips, threshold=-1)
    torch.testing.assert_close(kept, theirs, rtol=0, atol=1e-5)
    scores = model.tower(model.tower.normalise(clips))
    assert float(scores.std()) > 0.1  # the classes are told apart, so equality says something
    assert model.labels == ("falling", "rising", "turning", "waiting")
    assert model.space.dimension == 4


def test_at_the_published_size_it_equals_transformers() -> None:
    """Weights as they are before training, one clip of VideoMAE-S's width and length."""
    torch.manual_seed(0)
    config = VideoMAEConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_hidden_layers=2
    )
    theirs = VideoMAEForVideoClassification(config).eval()
    table = theirs.videomae.embeddings.position_embeddings[0]
    assert float((sine_positions(1568, 384) - table).abs().max()) < 1e-6


@pytest.mark.parametrize("resample", [2, 3])
def test_vivit_preparation_is_an_affine_map(resample: int) -> None:
    """Its processor multiplies by 1/127.5, subtracts 1, and normalises what comes of it."""
    settings = {"size": {"shortest_edge": 40}, "crop_size": CROP, "resample": resample}
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for normal in (True, False):
        processor = VivitImageProcessor(do_normalize=normal, **settings)
        theirs = torch.from_numpy(processor([[image]])["pixel_values"][0][0])
        ours = Preprocessing.from_config(processor.to_dict())
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (ours.mean, ours.std))
        got = (prepare(image, ours).float() / 255 - mean) / std
        torch.testing.assert_close(got, theirs.float(), rtol=0, atol=1e-5)


def test_an_image_tower_equals_transformers(tmp_path: Path) -> None:
    theirs = shaken(ViTForImageClassification(ViTConfig(patch_size=8, **SHAPE)))
    store(theirs, ViTImageProcessorPil(size=CROP), tmp_path)
    tower, classes = load_plain(tmp_path), load_classes(tmp_path)
    values = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hidden = theirs.vit(values).last_hidden_state[:, 0]
        torch.testing.assert_close(tower(values), hidden, rtol=1e-5, atol=1e-5)
    assert classes is not None
    assert torch.equal(classes, theirs.classifier.weight)


def altered(folder: Path, target: Path, *, config: Any = None, **tensors: Any) -> str:
    """Copy a folder with tensors replaced, or left out where they are None."""
    for file in folder.glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    if config:
        told = json.loads((folder / "config.json").read_text()) | config
        (target / "config.json").write_text(json.dumps(told))
    kept = load_file(folder / "model.safetensors") | tensors
    save_file({n: t for n, t in kept.items() if t is not None}, target / "model.safetensors")
    return str(target)


LAYER = "encoder.layer.1.attention.attention"


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("videomae", {"fc_norm.bias": None}, r"video tower: missing \['post\.bias'\]"),
        ("videomae", {f"videomae.{LAYER}.key.weight": None}, r"lacks layers\.1\.qkv\.weight\.k"),
        ("vivit", {f"vivit.{LAYER}.key.bias": None}, r"lacks layers\.1\.qkv\.bias\.k"),
        ("vivit", {"vivit.embeddings.cls_token": None}, r"missing \['class_token'\]"),
        ("vivit", {"vivit.extra": torch.ones(1)}, "unknown tensor 'vivit.extra'"),
        ("videomae", {"decoder.norm.bias": torch.ones(1)}, "unknown tensor 'decoder.norm.bias'"),
        ("videomae", {"fc_norm.bias": torch.ones(3)}, r"post\.bias is \(3,\), not \(48,\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    folders: dict[str, Path], tmp_path: Path, family: str, change: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        load_action_model(altered(folders[family], tmp_path, **change), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "clip"}, "unknown video model type 'clip'; allowed: videomae, vivit"),
        ({"use_mean_pooling": False}, "use_mean_pooling false"),
        ({"num_frames": 5}, "5 frames of 32 pixels in tubelets of 2"),
        ({"image_size": 64}, "the tower takes 64 pixels, its processor gives 32"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "several classes are called 'a'"),
    ],
)
def test_other_models_are_refused(
    folders: dict[str, Path], tmp_path: Path, config: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        load_action_model(altered(folders["videomae"], tmp_path, config=config), device="cpu")


def test_what_is_asked_wrongly_is_refused(folders: dict[str, Path]) -> None:
    model = load_action_model(str(folders["videomae"]), device="cpu")
    with pytest.raises(UsageError, match=r"unknown action of videomae 'fallin'.*nearest: falling"):
        model.label_index("fallin")
    assert model.label_index("rising") == 1
    with pytest.raises(UsageError, match=r"clips must be uint8 \['B', 6, 3, 32, 32\]"):
        model.classify(torch.zeros(1, 5, 3, 32, 32, dtype=torch.uint8))
    assert model.classify(torch.zeros(0, 6, 3, 32, 32, dtype=torch.uint8)).shape == (0, 4)
