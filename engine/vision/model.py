"""A model that puts pictures and texts into one space, and the identity of that space."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer

from engine.errors import ModelError, UsageError
from engine.vision.backbone.device import check_device
from engine.vision.backbone.families import family_of
from engine.vision.backbone.locate import locate, read_json
from engine.vision.backbone.precision import capable, quantise
from engine.vision.backbone.preprocess import Preprocessing, prepare
from engine.vision.backbone.space import Precision, Space
from engine.vision.backbone.text import TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.weights import fill, hash_files, read_tensors, weight_files
from engine.vision.fused.dense import FusedDense
from engine.vision.fused.layers import fits, misfit

FEW = 32  # pictures that a model embeds at once; strategies have more room


@dataclass(frozen=True, slots=True)
class Model:
    """Both towers, ready to run."""

    tower: VisionTower
    text: TextTower
    tokenizer: Any
    preprocessing: Preprocessing
    space: Space
    logit_scale: float  # what the model was trained to multiply cosines with
    _fused: list[FusedDense] = field(default_factory=list, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """Where both towers run."""
        return self.tower.device

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], *, batch: int = 256) -> NDArray[np.float32]:
        """Unit vectors `[T, E]` of the texts; a text beyond the context is cut at its end."""
        parts = [
            self.text(self.tokenize(texts[start : start + batch]).to(self.device))
            for start in range(0, len(texts), batch)
        ]
        return _unit(parts, self.space.dimension)

    @torch.inference_mode()
    def embed_images(
        self, images: Sequence[NDArray[np.uint8]], *, batch: int = 32
    ) -> NDArray[np.float32]:
        """Unit vectors `[n, E]` of upright pictures `[H, W, 3]`, each encoded in full."""
        parts = []
        for start in range(0, len(images), batch):
            rows = [prepare(image, self.preprocessing) for image in images[start : start + batch]]
            parts.append(self._encode(torch.stack(rows)))
        return _unit(parts, self.space.dimension)

    def _encode(self, pixels: Tensor) -> Tensor:
        """Embed bytes `[n, 3, S, S]`, by the fused forward where there is one for the tower."""
        if not fits(self.tower):
            return self.tower(self.tower.normalise(pixels))
        if not self._fused:
            self._fused.append(FusedDense(self.tower, FEW))
        return self._fused[0].encode(pixels)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids `[T, n]`, padded; a pooled last position needs the whole context filled."""
        config = self.text.config
        encoded = self.tokenizer(
            list(texts),
            padding="max_length" if config.pooling == "last" else True,
            truncation=True,
            max_length=config.context,
            return_tensors="pt",
        )
        return encoded["input_ids"]


def load_model(
    name: str = "builtin",
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    precision: Precision = "bf16",
) -> Model:
    """Load `builtin`, a folder in Hugging Face's format or a hub id; safetensors only.

    `auto` takes the GPU where there is one. The default type is bfloat16 on a GPU, float32 on a
    CPU; `fp8` has large products of the vision tower done in e4m3, on GPUs that can.
    """
    folder, commit = locate(name, revision)
    place = pick_device(device)
    kind = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    raw = read_json(folder / "config.json")
    family = family_of(str(raw.get("model_type")), folder)
    config = family.read(folder)
    preprocessing = Preprocessing.from_config(read_json(folder / "preprocessor_config.json"))
    files = weight_files(folder)
    tensors = read_tensors(files)
    vision, text = family.split(tensors)
    shape = family.vision(config, preprocessing.mean, preprocessing.std)
    if shape.image_size != preprocessing.size:
        raise ModelError(
            f"{folder}: the tower takes {shape.image_size} pixels, its processor gives "
            f"{preprocessing.size}"
        )
    check_precision(precision, place, shape)
    tower = fill(VisionTower, shape, vision, "vision tower").to(place, kind)
    text_tower = fill(TextTower, family.text(config), text, "text tower").to(place, kind)
    called = "builtin" if name == "builtin" else re.sub(r"[^\w.-]+", "-", Path(name).name)
    space = Space(
        name=f"{called}-fp8" if precision == "fp8" else called,
        model=name,
        revision=commit,
        weight_hash=hash_files(files),
        preprocessing=preprocessing.canonical,
        dimension=shape.dimension,
        precision=precision,
    )
    return Model(
        tower=quantise(tower) if precision == "fp8" else tower,
        text=text_tower,
        tokenizer=AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
        preprocessing=preprocessing,
        space=space,
        logit_scale=math.exp(float(tensors["logit_scale"])),
    )


def check_precision(precision: Precision, place: torch.device, config: VisionConfig) -> None:
    """Refuse fp8 where no tensor core multiplies e4m3, or no fused forward runs the tower."""
    if precision == "bf16":
        return
    if not capable(place):
        raise UsageError(
            f"precision fp8 needs a GPU of compute capability 8.9 or more, got {place}; "
            "allowed: bf16"
        )
    reason = misfit(config) or ("an MLP's width in sixteens" if config.mlp % 16 else "")
    if reason:
        raise UsageError(f"precision fp8 needs {reason}; allowed: bf16")


def pick_device(device: str) -> torch.device:
    """Return the named device; `auto` is the GPU where there is one, else the CPU."""
    check_device(device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but this machine has no CUDA device")
    return torch.device(device)


def pick_devices(names: str) -> tuple[str, ...]:
    """Return `all` GPUs, or the devices listed with commas; none for an empty text."""
    if names == "all":
        pick_device("cuda")
        return tuple(f"cuda:{at}" for at in range(torch.cuda.device_count()))
    return tuple(str(pick_device(name.strip())) for name in names.split(",") if name.strip())


def _unit(parts: list[Tensor], dimension: int) -> NDArray[np.float32]:
    if not parts:
        return np.empty((0, dimension), np.float32)
    rows: NDArray[np.float32] = F.normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()
    return rows
