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
FAMILIES = Names(
    "dejavu_engine.families",
    "model type",
    dict.fromkeys(("clip", "metaclip_2", "siglip"), "engine.vision.backbone.families:HUGGING_FACE"),
)
_NO_TEXTS = "no text tower, so that texts find nothing; allowed: CLIP or SigLIP with both towers"
_BY_SERVER = "allowed: a server that has it, by its URL (https://host/v1#NAME)"
_OTHERS = {
    "siglip2": "SigLIP 2 with NaFlex keeps each picture's own shape, which our tower does not;"
    " allowed: its checkpoints of one resolution, such as google/siglip2-base-patch16-224",
    **{
        name: f"{what} does not fit our tower; {_BY_SERVER}"
        for name, what in (
            ("embedding_gemma2", "EmbeddingGemma 2"),
            ("qwen3_vl", "Qwen3-VL-Embedding"),
            ("xclip", "X-CLIP, whose vectors are of clips,"),
            ("videoprism", "VideoPrism, whose vectors are of clips,"),
        )
    },
    **dict.fromkeys(("clip_vision_model", "siglip_vision_model", "vit", "dinov2"), _NO_TEXTS),
}


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
