"""timm's towers: as timm prepares and runs them; what cannot be is said in a line."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from engine import Engine
from engine.checking.check import Tryout, check_model
from engine.errors import ModelError, UsageError
from engine.video.write import write_h264
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.timm_towers import preprocessing_of
from engine.vision.model import load_model

CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 5,
    "model_args": {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 2},
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "classifier": "head",
    },
}
TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="timm is an extra")


def tiny(folder: Path) -> tuple[Path, Any]:
    import timm

    torch.manual_seed(2)
    model = timm.create_model(CONFIG["architecture"], num_classes=5, **CONFIG["model_args"])
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder, model.eval()


@TIMM
@pytest.mark.filterwarnings("ignore")
def test_pictures_are_timms(tmp_path: Path) -> None:
    from timm.data import create_transform

    folder, own = tiny(tmp_path / "tiny")
    told = CONFIG["pretrained_cfg"]
    given = {name: told[name] for name in ("crop_pct", "crop_mode", "interpolation", "mean", "std")}
    process = create_transform(tuple(told["input_size"]), is_training=False, **given)
    random, pictures = np.random.default_rng(1), []
    for width, height in ((80, 50), (50, 80), (200, 40)):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pictures.append(np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)))
    with torch.inference_mode():
        values = torch.stack([process(Image.fromarray(each)) for each in pictures])
        theirs = F.normalize(
            own.forward_head(own.forward_features(values), pre_logits=True), dim=-1
        )
    model = load_model(f"timm:{folder}", device="cpu")
    np.testing.assert_allclose(model.embed_images(pictures), theirs.numpy(), atol=2e-3)
    said = "has no text tower, so texts find nothing; allowed: a picture to look for"
    with pytest.raises(ModelError, match=said):
        model.embed_texts(["a dog"])
    with pytest.raises(ModelError, match="reads no texts, which a card is about"):
        check_model(f"timm:{folder}", Tryout(device="cpu"), lambda _: None)
    with pytest.raises(UsageError, match="dim 8 of timm:"):
        load_model(f"timm:{folder}?dim=8", device="cpu")
    tensors = load_file(folder / "model.safetensors")
    lost = tensors.pop("blocks.1.mlp.fc2.bias")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"1 weights of a vit_tiny_patch16_224 are not there, such"
    ):
        load_model(f"timm:{folder}", device="cpu")
    save_file({**tensors, "x": lost}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="are not "):
        load_model(f"timm:{folder}", device="cpu")


@TIMM
@pytest.mark.filterwarnings("ignore")
def test_a_space_of_pictures_alone_is_searched_by_pictures(tmp_path: Path) -> None:
    folder, _ = tiny(tmp_path / "tiny")
    shades = [np.full((32, 32, 3), shade, np.uint8) for shade in (20, 20, 230, 230)]
    write_h264(tmp_path / "a.mp4", shades, 1.0)
    Image.fromarray(shades[2]).save(tmp_path / "bright.png")
    with Engine.open(tmp_path / "data", f"timm:{folder}", "cpu") as engine:
        report = engine.ingest(tmp_path / "a.mp4", fps=1.0)
        assert "has no texts and runs by timm" in report.videos[0].choice
        found = engine.query((tmp_path / "bright.png").read_bytes(), 1, group_by="frame").moments
        assert found[0].start_seconds >= 2
        with pytest.raises(ModelError, match="has no text tower"):
            engine.query("a dog")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"size": 32, "resize": 35, "mode": "crop"}),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, {"size": 32, "resize": 32, "mode": "squash"}),
        ({"crop_pct": 1.0, "interpolation": "bilinear"}, {"size": 32, "resize": 32}),
    ],
)
def test_a_configuration_says_how_pictures_go_in(changed: Any, expected: Any) -> None:
    found = preprocessing_of({**CONFIG["pretrained_cfg"], **changed}, Path("x"))
    assert isinstance(found, Preprocessing)
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.mean, found.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"crop_mode": "border"}, "crop_mode border, crop_pct 0.9; allowed: a square"),
        ({"input_size": [3, 32, 48]}, r"pictures of \[3, 32, 48\]"),
        ({"interpolation": "random"}, "interpolation random; allowed: bilinear, bicubic"),
        ({"mean": None}, "does not say how pictures go in"),
    ],
)
def test_another_way_in_is_refused(changed: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        preprocessing_of({**CONFIG["pretrained_cfg"], **changed}, Path("x"))


@pytest.mark.skipif(find_spec("timm") is not None, reason="it is installed")
def test_without_timm_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ModelError, match=r"need timm: pip install 'dejavu-engine\[timm\]'"):
        load_model(f"timm:{tmp_path}", device="cpu")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no architecture of timm's"):
        load_model(f"timm:{tmp_path}", device="cpu")
