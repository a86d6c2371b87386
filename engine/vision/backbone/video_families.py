"""Families of video classifiers: from a folder in Hugging Face's format to a tower and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.errors import ModelError, UsageError
from engine.names import Names
from engine.vision.backbone.factorised import FactorisedTower
from engine.vision.backbone.factorised_files import factorised_shape
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.video import VideoConfig, VideoTower, sine_positions
from engine.vision.backbone.vit_names import rename_vit
from engine.vision.backbone.weights import activation_of, fill, read_config

Settings = Mapping[str, Any]
Tensors = dict[str, Tensor]
AnyVideoTower = VideoTower | FactorisedTower
VIDEO_FAMILIES = Names(
    "dejavu_engine.video_families",
    "video model type",
    {
        "videomae": "engine.vision.backbone.video_families:VIDEOMAE",
        "vivit": "engine.vision.backbone.video_families:VIVIT",
        "vivit_factorised": "engine.vision.backbone.video_families:FACTORISED",
    },
)


@dataclass(frozen=True, slots=True)
class VideoFamily:
    """How video classifiers of one type are read."""

    # from a complete configuration and a checkpoint's tensors
    build: Callable[[Settings, Preprocessing, Mapping[str, Tensor]], AnyVideoTower]
    read: Callable[[Path], Settings] = read_config  # a folder's configuration, defaults filled in


def video_family_of(model_type: str, folder: Path) -> VideoFamily:
    """Return how video models of that type are read."""
    try:
        return VIDEO_FAMILIES.find(model_type, VideoFamily)
    except UsageError as error:
        raise ModelError(f"{folder}: {error}") from error


def labels_of(config: Settings) -> tuple[str, ...]:
    """The classes' names, in the order of their scores; each names one class."""
    named = config.get("id2label") or {}
    labels = tuple(str(named.get(at, named.get(str(at)))) for at in range(len(named)))
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ModelError(f"several classes are called {twice[0]!r}; allowed: a name for each")
    return labels


def _shape(
    config: Settings, preprocessing: Preprocessing, *, tubelet: int, patch: int, **own: Any
) -> VideoConfig:
    edge, frames = config["image_size"], config["num_frames"]
    if frames % tubelet or edge % patch:
        raise ModelError(
            f"{frames} frames of {edge} pixels in tubelets of {tubelet} and patches of {patch}; "
            "allowed: whole ones"
        )
    return VideoConfig(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        mlp=config["intermediate_size"],
        patch=patch,
        tubelet=tubelet,
        image_size=edge,
        num_frames=frames,
        classes=len(labels_of(config)),
        activation=activation_of(config["hidden_act"]),
        eps=config["layer_norm_eps"],
        mean=preprocessing.mean,
        std=preprocessing.std,
        **own,
    )


def _videomae_shape(config: Settings, preprocessing: Preprocessing) -> VideoConfig:
    if not config["use_mean_pooling"]:
        raise ModelError("use_mean_pooling false of a VideoMAE; allowed: true")
    return _shape(
        config, preprocessing, tubelet=int(config["tubelet_size"]), patch=config["patch_size"]
    )


def _vivit_shape(config: Settings, preprocessing: Preprocessing) -> VideoConfig:
    tubelet, high, wide = config["tubelet_size"]
    if high != wide:
        raise ModelError(f"patches of {high} x {wide} pixels; allowed: squares")
    eps = config["layer_norm_eps"]
    return _shape(
        config, preprocessing, tubelet=tubelet, patch=high, class_token=True, post_eps=eps
    )


def _videomae_tensors(tensors: Mapping[str, Tensor], shape: VideoConfig) -> Tensors:
    """Add the table of positions, which is no part of a checkpoint."""
    renamed = rename_vit(tensors, "videomae")
    return renamed | {"position": sine_positions(shape.tokens, shape.width)}


def _vivit_tensors(tensors: Mapping[str, Tensor], _shape: VideoConfig) -> Tensors:
    return rename_vit(tensors, "vivit")


def _joint(
    shape: Callable[[Settings, Preprocessing], VideoConfig],
    rename: Callable[[Mapping[str, Tensor], VideoConfig], Tensors],
) -> VideoFamily:
    def build(
        config: Settings, preprocessing: Preprocessing, tensors: Mapping[str, Tensor]
    ) -> VideoTower:
        made = shape(config, preprocessing)
        return fill(VideoTower, made, rename(tensors, made), "video tower")

    return VideoFamily(build)


def _factorised(
    config: Settings, preprocessing: Preprocessing, tensors: Mapping[str, Tensor]
) -> FactorisedTower:
    shape = factorised_shape(config, preprocessing.mean, preprocessing.std)
    return fill(FactorisedTower, shape, dict(tensors), "video tower")


VIDEOMAE = _joint(_videomae_shape, _videomae_tensors)
VIVIT = _joint(_vivit_shape, _vivit_tensors)
FACTORISED = VideoFamily(_factorised, lambda folder: read_json(folder / "config.json"))
