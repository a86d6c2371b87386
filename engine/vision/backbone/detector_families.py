"""Families of detectors: from a folder in Hugging Face's format to a tower that finds objects."""

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoModelForObjectDetection

from engine.errors import ModelError, UsageError
from engine.names import Names
from engine.vision.backbone.dense import DenseConfig, DenseDetector, attributes_of, combined
from engine.vision.backbone.weights import fill, read_config, read_tensors, weight_files
from engine.vision.backbone.windowed import rename_windowed, windowed_shape
from engine.vision.backbone.yolos import YolosTower, rename_yolos, yolos_config

Settings = Mapping[str, Any]
NOTHING = "N/A"  # what COCO's gaps are called, several of them
DETECTOR_FAMILIES = Names(
    "dejavu_engine.detector_families",
    "detector model type",
    {
        "lw_detr": "engine.vision.backbone.detector_families:LW_DETR",
        "rf_detr": "engine.vision.backbone.detector_families:RF_DETR",
        "vitdet": "engine.vision.backbone.detector_families:VITDET",
        "yolos": "engine.vision.backbone.detector_families:YOLOS",
    },
)


@dataclass(frozen=True, slots=True)
class DetectorFamily:
    """How detectors of one type are read, and what their scores mean."""

    build: Callable[[Path, Settings], nn.Module]  # pictures to class scores and boxes
    one_label: bool  # an object has one label or is none (softmax), else each by itself (sigmoid)
    multiple: int = 1  # that a picture's edges are cut down to
    smooth: bool = True  # pictures are made smaller with antialiasing
    read: Callable[[Path], Settings] = read_config


def detector_family_of(model_type: str, folder: Path) -> DetectorFamily:
    """Return how detectors of that type are read."""
    try:
        return DETECTOR_FAMILIES.find(model_type, DetectorFamily)
    except UsageError as error:
        raise ModelError(f"{folder}: {error}") from error


def object_labels(config: Settings) -> tuple[str, ...]:
    """The classes' names, in the order of their scores; each but `N/A` names one class."""
    named = config.get("id2label") or {}
    labels = tuple(str(named.get(at, named.get(str(at)))) for at in range(len(named)))
    if twice := sorted({name for name in labels if labels.count(name) > 1} - {NOTHING}):
        raise ModelError(f"several classes are called {twice[0]!r}; allowed: a name for each")
    return labels


def object_groups(config: Settings) -> dict[str, tuple[int, ...]]:
    """Words that stand for several classes, where labels are made of attributes."""
    if not config.get("attributes"):
        return {}
    labels = [set(each) for each in itertools.product(*attributes_of(config))]
    words = [word for values in attributes_of(config) for word in values]
    return {word: tuple(at for at, label in enumerate(labels) if word in label) for word in words}


def _yolos(folder: Path, config: Settings) -> nn.Module:
    shape = yolos_config(config, len(object_labels(config)))
    tensors = rename_yolos(read_tensors(weight_files(folder)))
    return fill(YolosTower, shape, tensors, "detector")


def _dense(folder: Path, config: Settings) -> nn.Module:
    attributes = attributes_of(config)
    if object_labels(config) != combined(attributes):
        raise ModelError(f"{folder}: its labels are not its attributes combined, in their order")
    shape = DenseConfig(
        windowed_shape(config, folder),
        config["head_hidden_size"],
        tuple(len(values) for values in attributes),
    )
    tensors = read_tensors(weight_files(folder))
    head = {name: tensor for name, tensor in tensors.items() if name.startswith("head.")}
    tower = rename_windowed({n: tensor for n, tensor in tensors.items() if n not in head})
    renamed = {f"tower.{name}": tensor for name, tensor in tower.items()}
    return fill(DenseDetector, shape, renamed | head, "detector")


class Whole(nn.Module):
    """A detector of transformers' own, whose tower is not made of our layers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Detect."""
        found = self.model(pixel_values=values)
        return found.logits, found.pred_boxes


def _whole(folder: Path, config: Settings) -> nn.Module:  # noqa: ARG001
    weight_files(folder)  # safetensors only
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)  # what it would warn of is refused below
    try:
        model, told = AutoModelForObjectDetection.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{folder}: {' '.join(str(error).split())[:300]}") from error
    finally:
        log.setLevel(level)
    wrong = {key: sorted(map(str, told.get(key) or ())) for key in _WRONG}
    if any(wrong.values()):
        listed = ", ".join(f"{_WRONG[key]} {names[:3]}" for key, names in wrong.items() if names)
        raise ModelError(f"detector: {listed}")
    return Whole(model).eval().requires_grad_(False)


_WRONG = {
    "missing_keys": "missing",
    "unexpected_keys": "not expected",
    "mismatched_keys": "of another shape",
}
YOLOS = DetectorFamily(_yolos, one_label=True, multiple=16)
VITDET = DetectorFamily(_dense, one_label=True)
LW_DETR = DetectorFamily(_whole, one_label=False)
RF_DETR = DetectorFamily(_whole, one_label=False, smooth=False)
