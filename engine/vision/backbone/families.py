"""Families of models: how a folder's configuration and tensors become the two towers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.errors import ModelError, UsageError
from engine.names import Names
from engine.vision.backbone.text import TextConfig
from engine.vision.backbone.tower import VisionConfig
from engine.vision.backbone.weights import read_config, split_towers, text_config, vision_config

Config = Mapping[str, Any]
Triple = tuple[float, float, float]
Tensors = dict[str, Tensor]
_ROOM = "engine.vision.backbone."
FAMILIES = Names(
    "dejavu_engine.families",
    "model type",
    {
        **dict.fromkeys(("clip", "metaclip_2", "siglip"), f"{_ROOM}families:HUGGING_FACE"),
        "siglip2": f"{_ROOM}naflex:NAFLEX",
        "embedding_gemma2": f"{_ROOM}gemma:GEMMA",
        "qwen3_vl": f"{_ROOM}qwen:QWEN",
        "xclip": f"{_ROOM}clips:X_CLIP",
        "videoprism": f"{_ROOM}clips:VIDEOPRISM",
    },
)
_NO_TEXTS = "no text tower, so that texts find nothing; allowed: CLIP or SigLIP with both towers"
_OTHERS = dict.fromkeys(("clip_vision_model", "siglip_vision_model", "vit", "dinov2"), _NO_TEXTS)


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one type are read."""

    vision: Callable[[Config, Triple, Triple], VisionConfig]  # with mean and deviation of pixels
    text: Callable[[Config], TextConfig]
    split: Callable[[Mapping[str, Tensor]], tuple[Tensors, Tensors]]  # a checkpoint, by our names
    read: Callable[[Path], Config]  # a folder's configuration, defaults filled in


HUGGING_FACE = Family(vision_config, text_config, split_towers, read_config)


def family_of(model_type: str, folder: Path) -> Family:
    """Return how models of that type are read."""
    if reason := _OTHERS.get(model_type):
        raise ModelError(f"{folder}: {reason}")
    try:
        return FAMILIES.find(model_type, Family)
    except UsageError as error:
        raise ModelError(f"{folder}: {error}") from error
