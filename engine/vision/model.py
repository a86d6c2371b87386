"""A model that puts pictures and texts into one space, and the identity of that space."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer

from engine.errors import ModelError, UsageError
from engine.vision.fused.dense import FusedDense
from engine.vision.fused.layers import fits
from engine.vision.precision import Precision, check_precision, quantise
from engine.vision.preprocess import Preprocessing, prepare
from engine.vision.text import TextTower
from engine.vision.tower import VisionTower
from engine.vision.weights import (
    hash_files,
    read_tensors,
    split_towers,
    text_config,
    vision_config,
    weight_files,
)

BUILTIN = Path(__file__).parent / "builtin"
FEW = 32  # pictures that a model embeds at once; strategies have more room
M = TypeVar("M", bound=nn.Module)
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space: vectors of two spaces are never compared."""

    name: str
    model: str  # the id or folder that was asked for
    revision: str  # the hub's commit, or `local`
    weight_hash: str  # sha256 of the weights
    preprocessing: str  # canonical JSON
    dimension: int
    precision: Precision = "bf16"

    @property
    def key(self) -> str:
        """A short stable id, fit for a file name; other weights or preprocessing give another.

        So does fp8, which the name tells: its vectors are near those of full precision, not equal.
        """
        known = f"{self.weight_hash} {self.preprocessing}"
        if self.precision == "fp8":
            known = f"{known} fp8"
        told = hashlib.sha256(known.encode()).hexdigest()
        return f"{self.name}-{told[:12]}"


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
    folder, commit = _locate(name, revision)
    place = pick_device(device)
    kind = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    config = _read_config(folder)
    preprocessing = Preprocessing.from_config(_read_json(folder / "preprocessor_config.json"))
    files = weight_files(folder)
    tensors = read_tensors(files)
    vision, text = split_towers(tensors)
    shape = vision_config(config, preprocessing.mean, preprocessing.std)
    if shape.image_size != preprocessing.size:
        raise ModelError(
            f"{folder}: the tower takes {shape.image_size} pixels, its processor gives "
            f"{preprocessing.size}"
        )
    check_precision(precision, place, shape)
    tower = _fill(VisionTower, shape, vision, "vision tower").to(place, kind)
    text_tower = _fill(TextTower, text_config(config), text, "text tower").to(place, kind)
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


def pick_device(device: str) -> torch.device:
    """Return the named device; `auto` is the GPU where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}; allowed: auto, cpu, cuda, cuda:N")
    if device != "cpu" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but this machine has no CUDA device")
    return torch.device(device)


def pick_devices(names: str) -> tuple[str, ...]:
    """Return `all` GPUs, or the devices listed with commas; none for an empty text."""
    if names == "all":
        pick_device("cuda")
        return tuple(f"cuda:{at}" for at in range(torch.cuda.device_count()))
    return tuple(str(pick_device(name.strip())) for name in names.split(",") if name.strip())


def _locate(name: str, revision: str | None) -> tuple[Path, str]:
    if name == "builtin":
        return BUILTIN, "local"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, "local"
    if "/" not in name or name.startswith((".", "/", "~")):
        raise ModelError(
            f"unknown model {name!r}; allowed: builtin, a folder in Hugging Face's format, or an "
            "id such as openai/clip-vit-base-patch32"
        )
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {name!r} cannot be fetched: {reason}") from error
    return path, path.name


def _read_config(folder: Path) -> dict[str, Any]:
    raw = _read_json(folder / "config.json")
    if raw.get("model_type") not in ("clip", "siglip"):
        raise ModelError(f"{folder}: model type {raw.get('model_type')!r}; allowed: clip, siglip")
    complete: dict[str, Any] = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    return complete


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ModelError(f"no {path.name} in {path.parent}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object")
    return value


def _fill(kind: type[M], shape: Any, tensors: dict[str, Tensor], what: str) -> M:
    """Build a tower without initialising it, and give it all of its weights."""
    with torch.device("meta"):
        tower = kind(shape)
    missing = sorted(set(tower.state_dict()) - set(tensors))
    extra = sorted(set(tensors) - set(tower.state_dict()))
    if missing or extra:
        raise ModelError(f"{what}: missing {missing[:3]}, not expected {extra[:3]}")
    for key, value in tower.state_dict().items():
        if value.shape != tensors[key].shape:
            raise ModelError(
                f"{what}: {key} is {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
            )
    tower.load_state_dict({key: tensor.float() for key, tensor in tensors.items()}, assign=True)
    return tower.eval().requires_grad_(False)


def _unit(parts: list[Tensor], dimension: int) -> NDArray[np.float32]:
    if not parts:
        return np.empty((0, dimension), np.float32)
    rows: NDArray[np.float32] = F.normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()
    return rows
