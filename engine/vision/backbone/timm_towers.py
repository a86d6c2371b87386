"""timm's towers: pictures alone, by timm's own forward, prepared as the model's configuration says.

They have no texts: a space of theirs is asked by pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.locate import TIMM, read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.weights import read_tensors, weight_files

_INSTALL = "pip install 'dejavu-engine[timm]'"
_BATCH = 16


@dataclass(frozen=True, slots=True)
class TimmTower:
    """A checkpoint of timm's, ready to run."""

    model: Any
    preprocessing: Preprocessing
    dimension: int
    files: tuple[Path, ...]

    def embed(self, pixels: Tensor) -> Tensor:
        """Pooled features `[B, E]` of bytes `[B, 3, S, S]`."""
        like = next(self.model.parameters())
        told = self.preprocessing
        mean, std = torch.tensor([told.mean, told.std], device=like.device).view(2, 3, 1, 1)
        parts = []
        for part in pixels.split(_BATCH):
            values = (part.to(like.device).float() / 255 - mean) / std
            parts.append(self.model(values.to(like.dtype)).float())
        return torch.cat(parts)


def is_timm(name: str) -> bool:
    """Whether a model is named as timm's."""
    return name.startswith(TIMM)


def no_texts(name: str, _texts: Sequence[str]) -> Tensor:
    """Refuse texts."""
    raise ModelError(
        f"{name} has no text tower, so texts find nothing; allowed: a picture to look for, or a"
        " model with both towers"
    )


def load_timm(folder: Path, place: torch.device, kind: torch.dtype) -> TimmTower:
    """Load a folder as timm's models lie on the hub: config.json beside safetensors."""
    config = read_json(folder / "config.json")
    architecture, told = config.get("architecture"), config.get("pretrained_cfg", config)
    if not isinstance(architecture, str) or not isinstance(told, Mapping):
        raise ModelError(f"{folder / 'config.json'} names no architecture of timm's")
    preprocessing = preprocessing_of(told, folder)
    try:
        import timm  # an extra
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision for another torch
        reason = " ".join(str(error).split())[:100]
        raise ModelError(f"timm's models need timm: {_INSTALL} ({reason})") from error
    files = weight_files(folder)
    tensors = read_tensors(files)
    given = config.get("model_args") or {}
    try:
        model = timm.create_model(architecture, pretrained=False, num_classes=0, **given)
        found = model.load_state_dict(_without_classifier(tensors, told), strict=False)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: timm cannot load a {architecture}: {reason}") from error
    for what, names in (("not there", found.missing_keys), ("not known", found.unexpected_keys)):
        if names:
            raise ModelError(
                f"{folder}: {len(names)} weights of a {architecture} are {what}, such as {names[0]}"
            )
    model = model.eval().requires_grad_(False).to(place, kind)
    tower = TimmTower(model, preprocessing, 0, tuple(files))
    empty = torch.zeros(1, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8)
    with torch.inference_mode():
        shape = tower.embed(empty).shape
    if len(shape) != 2:
        raise ModelError(f"{folder}: a {architecture} gives {list(shape)} of a picture, no vector")
    return TimmTower(model, preprocessing, shape[1], tuple(files))


def preprocessing_of(told: Mapping[str, Any], folder: Path) -> Preprocessing:
    """What timm does with a picture when it evaluates."""
    try:
        channels, height, width = (int(each) for each in told["input_size"])
        mean, std = (tuple(float(value) for value in told[name]) for name in ("mean", "std"))
        share = float(told.get("crop_pct") or 0.875)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: pretrained_cfg does not say how pictures go in") from error
    mode, resample = told.get("crop_mode") or "center", told.get("interpolation", "bicubic")
    squashed = mode == "squash" and share == 1
    if channels != 3 or height != width or not (mode == "center" or squashed):
        raise ModelError(
            f"{folder}: pictures of {told['input_size']}, crop_mode {mode}, crop_pct {share};"
            " allowed: a square of three channels, cut from the centre or squashed whole"
        )
    if resample not in ("bilinear", "bicubic") or len(mean) != 3 or len(std) != 3:
        raise ModelError(f"{folder}: interpolation {resample}; allowed: bilinear, bicubic")
    return Preprocessing(
        size=height,
        resize=floor(height / share),
        mean=mean,
        std=std,
        mode="squash" if squashed else "crop",
        resample=resample,
        rounded=True,
    )


def _without_classifier(
    tensors: Mapping[str, Tensor], told: Mapping[str, Any]
) -> dict[str, Tensor]:
    named = told.get("classifier") or ()
    heads = (named,) if isinstance(named, str) else tuple(named)
    return {
        name: each
        for name, each in tensors.items()
        if not any(name in (f"{head}.weight", f"{head}.bias") for head in heads)
    }
