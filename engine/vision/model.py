"""A model that puts pictures and texts into one space, and the identity of that space."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.errors import ModelError, UsageError
from engine.vision.backbone.checkpoint import read_checkpoint
from engine.vision.backbone.device import check_device
from engine.vision.backbone.foreign import ForeignText, ForeignTower
from engine.vision.backbone.library import LibraryFamily, library_of, load_library
from engine.vision.backbone.locate import locate, short_name
from engine.vision.backbone.named import ModelName, parse_name
from engine.vision.backbone.precision import capable, quantise
from engine.vision.backbone.preprocess import Preprocessing, prepare
from engine.vision.backbone.remote import RemoteEmbeddings
from engine.vision.backbone.space import Asked, Space
from engine.vision.backbone.text import TextTower
from engine.vision.backbone.timm_towers import is_timm, load_timm, no_texts
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.weights import fill, hash_files
from engine.vision.backbone.words import load_tokenizer, written
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
        asked = [parse_name(self.space.model).asked(text) for text in texts]
        parts = [self._read(asked[at : at + batch]) for at in range(0, len(asked), batch)]
        return _unit(parts, self.space.dimension)

    def _read(self, texts: Sequence[str]) -> Tensor:
        if isinstance(self.text, ForeignText):
            return self.text.embed_texts(texts)
        return self.text(self.tokenize(texts).to(self.device))

    @torch.inference_mode()
    def embed_images(
        self, images: Sequence[NDArray[np.uint8]], *, batch: int = 32
    ) -> NDArray[np.float32]:
        """Unit vectors `[n, E]` of upright pictures `[H, W, 3]`, each encoded in full.

        To a model of clips each is a clip in which nothing moves.
        """
        parts = []
        for start in range(0, len(images), batch):
            rows = [prepare(image, self.preprocessing) for image in images[start : start + batch]]
            for _, alike in groupby(rows, key=lambda row: row.shape):
                parts.append(self._encode(self._rows(torch.stack(list(alike)))))
        return _unit(parts, self.space.dimension)

    def _rows(self, pictures: Tensor) -> Tensor:
        """What vectors are of: pictures as they are, or each as a clip that stands still."""
        held = self.preprocessing.pictures
        return pictures if held == 1 else pictures[:, None].expand(-1, held, -1, -1, -1)

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
            [written(text, config.words) for text in texts],
            padding="max_length" if config.pooling == "last" else True,
            truncation=True,
            max_length=config.context,
            padding_side="right",
            return_tensors="pt",
        )
        return encoded["input_ids"]


def load_model(
    name: str = "builtin",
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    precision: Asked = "auto",
) -> Model:
    """Load `builtin`, a hub id or a folder, in Hugging Face's or open_clip's format: safetensors.

    `auto` takes the GPU where there is one. The default type is bfloat16 on a GPU, float32 on a
    CPU; `bf16` has the vision tower in bfloat16 on a CPU too, several times as fast where the CPU
    multiplies it (AVX-512 BF16, AMX), slower elsewhere; `fp8` has large products of the vision
    tower done in e4m3, on GPUs that can.
    """
    named, place = parse_name(name), pick_device(device)
    if named.is_url:
        return _remote_model(name, named, precision)
    folder, commit = locate(name, revision)
    if is_timm(named.base):
        return _timm_model(name, folder, commit, place, dtype, precision)
    kind = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    if (family := library_of(named.base, folder)) is not None:
        if precision == "fp8":
            raise UsageError(f"precision fp8 of {family.name}; allowed: bf16, auto")
        seen = dtype or (torch.bfloat16 if precision == "bf16" else kind)
        return _library_model(family, name, folder, commit, place, seen)
    found = read_checkpoint(named.base, folder).cut(named.dim, name)
    check_precision(precision, place, found.vision)
    seen = dtype or (torch.bfloat16 if precision == "bf16" else kind)
    tower = fill(VisionTower, found.vision, found.vision_tensors, "vision tower").to(place, seen)
    tokenizer = load_tokenizer(folder, found.text)
    text_tower = fill(TextTower, found.text, found.text_tensors, "text tower").to(place, kind)
    called = short_name(name)
    space = Space(
        name="-".join([called, *_marks(named, precision)]),
        model=name,
        revision=commit,
        weight_hash=hash_files(list(found.files)),
        preprocessing=found.preprocessing.canonical,
        dimension=found.vision.dimension,
        precision="fp8" if precision == "fp8" else "bf16",
        identity=named.identity,
    )
    return Model(
        tower=quantise(tower) if precision == "fp8" else tower,
        text=text_tower,
        tokenizer=tokenizer,
        preprocessing=found.preprocessing,
        space=space,
        logit_scale=found.logit_scale,
    )


def _remote_model(name: str, named: ModelName, precision: Asked) -> Model:
    """Ask a server for one vector of a text and of a picture, and take it from then on."""
    if precision == "fp8":
        raise UsageError("precision fp8 of vectors from a server; allowed: bf16")
    server, size = RemoteEmbeddings.of(named), named.size
    shown = server.pictures(torch.full((1, 3, size, size), 128, dtype=torch.uint8))
    said = server.texts([named.asked("a picture")])
    if shown.shape != said.shape:
        raise ModelError(
            f"{name}: vectors of pictures have {shown.shape[1]} numbers, of texts {said.shape[1]}"
        )
    whole = said.shape[1]
    kept = named.dim or whole
    if kept > whole:
        raise ModelError(f"{name}: dim {kept}; allowed: at most {whole}")

    def cut(vectors: Tensor) -> Tensor:
        if vectors.shape[1] != whole:
            raise ModelError(f"{name}: a vector of {vectors.shape[1]} numbers; expected {whole}")
        return vectors[:, :kept]

    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(size=size, resize=size, mean=half, std=half, mode="pad")
    return Model(
        tower=ForeignTower(
            size, kept, lambda pixels: cut(server.pictures(pixels)), f"vectors come from {name}"
        ),
        text=ForeignText(kept, lambda texts: cut(server.texts(texts))),
        tokenizer=None,
        preprocessing=preprocessing,
        space=Space(
            name="-".join([short_name(name), *_marks(named, precision)]),
            model=name,
            revision="local",
            weight_hash=server.identity,
            preprocessing=preprocessing.canonical,
            dimension=kept,
            identity=f"{named.identity} of {whole}",
        ),
        logit_scale=100.0,
    )


def _timm_model(
    name: str,
    folder: Path,
    commit: str,
    place: torch.device,
    dtype: torch.dtype | None,
    precision: Asked,
) -> Model:
    """Load a tower of timm's: pictures alone."""
    named = parse_name(name)
    if precision == "fp8" or named.dim is not None:
        asked = "precision fp8" if precision == "fp8" else f"dim {named.dim}"
        raise UsageError(f"{asked} of {name}; allowed: every number of a timm tower, in bf16")
    half = place.type == "cuda" or precision == "bf16"
    own = load_timm(folder, place, dtype or (torch.bfloat16 if half else torch.float32))
    why = f"{name} has no texts and runs by timm"
    return Model(
        tower=ForeignTower(own.preprocessing.size, own.dimension, own.embed, why, place),
        text=ForeignText(own.dimension, partial(no_texts, name), 0),
        tokenizer=None,
        preprocessing=own.preprocessing,
        space=Space(
            name=short_name(name),
            model=name,
            revision=commit,
            weight_hash=hash_files(list(own.files)),
            preprocessing=own.preprocessing.canonical,
            dimension=own.dimension,
        ),
        logit_scale=100.0,
    )


def _library_model(
    family: LibraryFamily,
    name: str,
    folder: Path,
    commit: str,
    place: torch.device,
    kind: torch.dtype,
) -> Model:
    """Load a model that runs by transformers' class, its vectors cut as the name says."""
    named = parse_name(name)
    loaded = load_library(family, folder, place, kind, named.prompt)
    own = loaded.model
    kept = named.dim or own.dimension
    if kept > own.dimension:
        raise ModelError(f"{name}: dim {kept}; allowed: at most {own.dimension}")

    def seen(pixels: Tensor) -> Tensor:
        parts = [own.pictures(own.inputs(part)) for part in pixels.split(family.batch)]
        return torch.cat(parts)[:, :kept].float()

    def said(texts: Sequence[str]) -> Tensor:
        at = range(0, len(texts), family.batch)
        return torch.cat([own.texts(texts[i : i + family.batch]) for i in at])[:, :kept].float()

    return Model(
        tower=ForeignTower(own.preprocessing.size, kept, seen, family.why, place, own.layers),
        text=ForeignText(kept, said, own.context),
        tokenizer=loaded.parts.tokenizer,
        preprocessing=own.preprocessing,
        space=Space(
            name="-".join([short_name(name), *_marks(named, "bf16")]),
            model=name,
            revision=commit,
            weight_hash=hash_files(list(loaded.files)),
            preprocessing=own.preprocessing.canonical,
            dimension=kept,
            identity=named.identity,
        ),
        logit_scale=loaded.logit_scale,
    )


def _marks(named: ModelName, precision: Asked) -> list[str]:
    """What a space's name says besides its model's."""
    return [*([str(named.dim)] if named.dim else []), *(["fp8"] if precision == "fp8" else [])]


def check_precision(precision: Asked, place: torch.device, config: VisionConfig) -> None:
    """Refuse fp8 where no tensor core multiplies e4m3, or no fused forward runs the tower."""
    if precision != "fp8":
        return
    if not capable(place):
        raise UsageError(
            f"precision fp8 needs a GPU of compute capability 8.9 or more, got {place}; "
            "allowed: bf16, auto"
        )
    reason = misfit(config) or ("an MLP's width in sixteens" if config.mlp % 16 else "")
    if reason:
        raise UsageError(f"precision fp8 needs {reason}; allowed: bf16, auto")


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
    if wrong := int((~np.isfinite(rows).all(1)).sum()):
        kind = str(parts[0].dtype).removeprefix("torch.")
        raise ModelError(
            f"{wrong} of {len(rows)} vectors are not numbers (NaN or Inf) in {kind}"
            + ("; allowed: float32, or bfloat16" if kind == "float16" else "")
        )
    return rows
