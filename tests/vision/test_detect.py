"""Detectors equal transformers' own, from raw frames, and a folder that does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    LwDetrConfig,
    LwDetrForObjectDetection,
    LwDetrViTConfig,
    PreTrainedModel,
    RfDetrConfig,
    RfDetrForObjectDetection,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.deformable_detr.image_processing_pil_deformable_detr import (
    DeformableDetrImageProcessorPil,
)
from transformers.models.yolos.image_processing_pil_yolos import (
    YolosImageProcessorPil,
    get_size_with_aspect_ratio_yolos,
)

from engine.errors import ModelError, UsageError
from engine.vision.backbone.fitting import Fitting
from engine.vision.detect import FLOOR, MOST, Detector, Objects, choose, load_detector

LABELS = {0: "ball", 1: "box", 2: "cup", 3: "star"}


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """Give every weight a random value, those that start as zeros and ones too."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return model.eval()


def yolos(**other: Any) -> PreTrainedModel:
    shape: dict[str, Any] = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 96,
        "image_size": [32, 48],
        "patch_size": 16,
        "num_detection_tokens": 9,
        "id2label": LABELS,
    }
    return shaken(YolosForObjectDetection(YolosConfig(**shape | other)))


def lw_detr() -> PreTrainedModel:
    tower = LwDetrViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=64,
        pretrain_image_size=64, window_block_indices=[0, 2], out_indices=[1, 2], num_windows=4,
    )  # fmt: skip
    shape: dict[str, Any] = {
        "d_model": 32,
        "decoder_ffn_dim": 48,
        "decoder_layers": 2,
        "decoder_self_attention_heads": 2,
        "decoder_cross_attention_heads": 2,
        "num_queries": 7,
        "group_detr": 1,
        "projector_scale_factors": [1.0],
    }
    return shaken(
        LwDetrForObjectDetection(LwDetrConfig(backbone_config=tower, id2label=LABELS, **shape))
    )


def rf_detr() -> PreTrainedModel:
    tower = {
        "model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 64, "patch_size": 16, "num_windows": 2,
        "out_indices": [1, 2],
    }  # fmt: skip
    shape: dict[str, Any] = {
        "d_model": 32,
        "decoder_ffn_dim": 48,
        "decoder_layers": 2,
        "decoder_self_attention_heads": 2,
        "decoder_cross_attention_heads": 2,
        "num_queries": 7,
        "group_detr": 1,
    }
    return shaken(
        RfDetrForObjectDetection(RfDetrConfig(backbone_config=tower, id2label=LABELS, **shape))
    )


SQUARE = {"size": {"height": 64, "width": 64}}
EDGES = {"size": {"shortest_edge": 48, "longest_edge": 80}}


def store(model: PreTrainedModel, processor: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    if isinstance(processor, dict):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    else:
        processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(0, 256, (3, 72, 100, 3), dtype=np.uint8))


def same(found: Objects, theirs: list[dict[str, torch.Tensor]]) -> None:
    """Hold what was found against transformers' own lists, each by falling score.

    Pillow and torch round a resized byte differently here and there.
    """
    for row, expected in enumerate(theirs):
        order = expected["scores"].argsort(descending=True, stable=True)[:MOST]
        scores = expected["scores"][order]
        count = int((found.scores[row] > 0).sum())
        assert count == len(scores) > 1
        torch.testing.assert_close(found.scores[row, :count], scores, rtol=0, atol=1e-4)
        assert found.labels[row, :count].tolist() == expected["labels"][order].tolist()
        boxes = expected["boxes"][order].clamp(0, 1)
        torch.testing.assert_close(found.boxes[row, :count], boxes, rtol=0, atol=1e-4)
    assert len({tuple(each["scores"].tolist()) for each in theirs}) == len(theirs)
    assert float(found.boxes.std()) > 0.05


@pytest.mark.parametrize("size", [SQUARE, EDGES], ids=["square", "edges"])
@pytest.mark.parametrize("middle", [True, False])
def test_yolos_equals_transformers(
    tmp_path: Path, frames: list[np.ndarray], size: Any, middle: bool
) -> None:
    """From the stored folder and from frames: each side prepares these by itself."""
    model = yolos(use_mid_position_embeddings=middle)
    processor = YolosImageProcessorPil(do_pad=False, **size)
    detector = load_detector(str(store(model, processor, tmp_path)), device="cpu")
    values = processor(frames, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        out = model(values)
        logits, boxes = detector.tower(values)
    torch.testing.assert_close(logits, out.logits, rtol=0, atol=3e-5)
    torch.testing.assert_close(boxes, out.pred_boxes, rtol=0, atol=1e-5)
    theirs = processor.post_process_object_detection(out, threshold=FLOOR)
    same(detector.detect(frames, batch=2), theirs)
    assert detector.labels == tuple(LABELS.values())


def test_lw_detr_equals_transformers(tmp_path: Path, frames: list[np.ndarray]) -> None:
    model = lw_detr()
    processor = DeformableDetrImageProcessorPil(do_pad=False, **SQUARE)
    detector = load_detector(str(store(model, processor, tmp_path)), device="cpu")
    with torch.inference_mode():
        out = model(processor(frames, return_tensors="pt")["pixel_values"])
    theirs = processor.post_process_object_detection(out, threshold=FLOOR, top_k=MOST)
    same(detector.detect(frames, batch=3), theirs)


def test_rf_detr_equals_transformers(tmp_path: Path, frames: list[np.ndarray]) -> None:
    """Its processor needs torchvision: what it does stands here, in torch's own words."""
    model = rf_detr()
    told = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], **SQUARE}
    detector = load_detector(str(store(model, told, tmp_path)), device="cpu")
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    small = nn.functional.interpolate(pixels, (64, 64), mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(told[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    with torch.inference_mode():
        out = model((small - mean) / std)
    shares = out.logits.sigmoid().flatten(1)
    theirs = []
    for row in range(3):
        order = shares[row].argsort(descending=True)
        order = order[shares[row][order] > FLOOR][:MOST]
        x, y, w, h = out.pred_boxes[row][order // out.logits.shape[-1]].unbind(-1)
        boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
        labels = order % out.logits.shape[-1]
        theirs.append({"scores": shares[row][order], "labels": labels, "boxes": boxes})
    same(detector.detect(frames), theirs)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (30, 400), (48, 48), (480, 641), (33, 20)])
@pytest.mark.parametrize("edges", [(48, 80), (512, 1333), (30, 31)])
def test_edges_are_those_of_the_processor(shape: Any, edges: Any) -> None:
    short, long = edges
    if min(shape) * long < 16 * max(shape):
        pytest.skip("an edge below one patch")
    config = {"size": {"shortest_edge": short, "longest_edge": long}}
    ours = Fitting.from_config(config, multiple=16, smooth=True).edges(*shape)
    theirs = get_size_with_aspect_ratio_yolos(shape, short, long)
    assert ours == tuple(max(16, each) for each in theirs)


def test_what_is_stored_is_what_was_found() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(5, MOST, generator=generator)
    scores[1, 3:] = 0
    labels = torch.randint(0, 4096, (5, MOST), generator=generator)
    boxes = torch.rand(5, MOST, 4, generator=generator)
    for count in (MOST, 7):
        found = Objects(scores[:, :count], labels[:, :count], boxes[:, :count])
        packed = found.packed()
        assert np.abs(np.linalg.norm(packed, axis=1) - 1).max() < 1e-5
        again = Objects.unpacked(packed.astype(np.float16))
        assert torch.equal(again.labels[:, :count], found.labels)
        torch.testing.assert_close(again.scores[:, :count], found.scores, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(again.boxes[:, :count], found.boxes, rtol=1e-3, atol=1e-5)
        assert not again.scores[:, count:].any()


def test_only_likely_objects_are_kept() -> None:
    """By hand: two objects of three are above the floor, one reaches beyond the picture."""
    logits = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, 2.0, 2.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.4, 0.1]]])
    found = choose(logits, boxes, one_label=True)
    first = float(np.exp(4) / (np.exp(4) + 2))
    second = float(np.exp(2) / (2 * np.exp(2) + 1))
    assert found.scores[0].tolist() == pytest.approx([first, second, 0], abs=1e-6)
    assert found.labels[0].tolist() == [0, 1, 0]
    assert found.boxes[0, 0].tolist() == pytest.approx([0.4, 0.3, 0.6, 0.7])
    assert found.boxes[0, 1].tolist() == pytest.approx([0.7, 0.85, 1.0, 0.95])
    assert not found.boxes[0, 2].any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("yolos")
    return store(yolos(), YolosImageProcessorPil(**SQUARE), path)


def altered(folder: Path, target: Path, change: dict[str, Any], **tensors: Any) -> str:
    for file in folder.glob("*.json"):
        told = json.loads(file.read_text())
        (target / file.name).write_text(json.dumps(told | change.get(file.stem, {})))
    kept = load_file(folder / "model.safetensors") | tensors
    save_file({n: t for n, t in kept.items() if t is not None}, target / "model.safetensors")
    return str(target)


@pytest.mark.parametrize(
    ("change", "tensors", "said"),
    [
        ({"config": {"model_type": "clip"}}, {}, "detector model type 'clip'; allowed: lw_detr"),
        ({"config": {"patch_size": [16, 8]}}, {}, "patches of"),
        ({"config": {"id2label": {"0": "a", "1": "a"}}}, {}, "several classes are called 'a'"),
        ({"preprocessor_config": {"size": {"max_height": 3}}}, {}, "allowed: height and width"),
        ({"preprocessor_config": {"resample": 3}}, {}, "resample 3 .* allowed: 2"),
        ({}, {"vit.layernorm.bias": None}, r"missing \['post.bias'\]"),
        ({}, {"vit.extra": torch.ones(1)}, "unknown tensor 'vit.extra'"),
        ({}, {"bbox_predictor.layers.0.bias": torch.ones(3)}, r"boxes\.layers\.0\.bias is \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, change: Any, tensors: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        load_detector(altered(folder, tmp_path, change, **tensors), device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_of_a_whole_model_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good = store(lw_detr(), SQUARE, tmp_path / "good")
    lost = {"model.decoder.layernorm.weight": None, "some.thing": torch.ones(1)}
    with pytest.raises(ModelError, match=r"missing \['model.decoder.layernorm.weight'\], not"):
        load_detector(altered(good, tmp_path / "bad", {}, **lost), device="cpu")


def test_labels_are_asked_by_name(folder: Path) -> None:
    detector = load_detector(str(folder), device="cpu")
    assert isinstance(detector, Detector)
    assert detector.places("cup") == (2,)
    with pytest.raises(UsageError, match=r"unknown object of yolos\S* 'bal'.*nearest: ball"):
        detector.places("bal")
    assert detector.detect([]).scores.shape[0] == 0
