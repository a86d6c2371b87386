"""Models that run by transformers' own classes: dense, by the library's forward, prepared by us."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel
from transformers.utils import logging as said

from engine.errors import ModelError, UsageError
from engine.vision.backbone.checkpoint import is_open_clip
from engine.vision.backbone.families import FAMILIES
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.weights import read_config, weight_files
from engine.vision.backbone.words import read_tokenizer

_SCALE = 100.0
_PROCESSORS = (
    ("preprocessor_config.json", None),
    ("video_preprocessor_config.json", None),
    ("processor_config.json", "image_processor"),
    ("processor_config.json", "video_processor"),
)


@dataclass(frozen=True, slots=True)
class LibraryParts:
    """A checkpoint as the library gives it."""

    model: Any
    folder: Path
    tokenizer: Any
    processor: Mapping[str, Any]  # the picture processor's configuration
    prompt: str | None  # how a text is asked, where the user says so: it has been applied then

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """What it multiplies in."""
        return self.model.dtype

    def scaled(self, pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
        """Bytes `[…, 3, h, w]` to the model's values."""
        mean, std = torch.tensor([preprocessing.mean, preprocessing.std], device=self.device).view(
            2, 3, 1, 1
        )
        return ((pixels.to(self.device).float() / 255 - mean) / std).to(self.dtype)

    def tokens(self, texts: Sequence[str], context: int, **how: Any) -> dict[str, Tensor]:
        """Token ids `[T, n]` and which of them are there, cut at the context."""
        told = {"padding": True, "padding_side": "right", **how}
        found = self.tokenizer(
            list(texts), truncation=True, max_length=context, return_tensors="pt", **told
        )
        return {
            name: found[name].to(self.device)
            for name in ("input_ids", "attention_mask")
            if name in found
        }


@dataclass(frozen=True, slots=True)
class LibraryModel:
    """What a checkpoint makes of pictures and texts."""

    dimension: int
    preprocessing: Preprocessing
    inputs: Callable[[Tensor], dict[str, Tensor]]  # of bytes [B, (T,) 3, h, w], for the library
    pictures: Callable[[Mapping[str, Tensor]], Tensor]  # of those inputs: [B, E]
    texts: Callable[[Sequence[str]], Tensor]  # [T, E]
    context: int  # tokens of the longest text
    layers: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class LibraryFamily:
    """How models of one type are read."""

    name: str
    why: str  # it runs by the library, as users are told
    build: Callable[[LibraryParts], LibraryModel]
    half: bool = True  # whether float16 holds its numbers
    batch: int = 16  # that are embedded at once


@dataclass(frozen=True, slots=True)
class LibraryCheckpoint:
    """A model of the library with what describes it."""

    family: LibraryFamily
    parts: LibraryParts
    model: LibraryModel
    files: tuple[Path, ...]

    @property
    def logit_scale(self) -> float:
        """What the model was trained to multiply cosines with, where it says so."""
        found = getattr(self.parts.model, "logit_scale", None)
        return _SCALE if found is None else float(found.detach().float().exp())


def library_of(name: str, folder: Path) -> LibraryFamily | None:
    """Return the family of a folder that runs by the library, else None."""
    if is_open_clip(name, folder):
        return None
    kind = str(read_json(folder / "config.json").get("model_type"))
    if kind not in FAMILIES.all():
        return None
    try:
        found = FAMILIES.find(kind, object)
    except UsageError as error:
        raise ModelError(f"{folder}: {error}") from error
    return found if isinstance(found, LibraryFamily) else None


def load_library(
    family: LibraryFamily, folder: Path, place: torch.device, kind: torch.dtype, prompt: str | None
) -> LibraryCheckpoint:
    """Load a folder by transformers; weights that it lacks or that do not fit are an error."""
    if kind == torch.float16 and not family.half:
        raise ModelError(
            f"{family.name} gives vectors that are not numbers in float16; allowed: float32, or"
            " bfloat16"
        )
    read_config(folder)
    files = weight_files(folder)
    tokenizer, processor = read_tokenizer(folder), read_processor(folder)
    parts = LibraryParts(_read(folder, kind).to(place), folder, tokenizer, processor, prompt)
    try:
        model = family.build(parts)
    except (KeyError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: no {family.name} as it is published: {reason}") from error
    if len(tokenizer) > model.vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the model"
            f" {model.vocabulary}: it is another model's"
        )
    return LibraryCheckpoint(family, parts, model, tuple(files))


def read_processor(folder: Path) -> dict[str, Any]:
    """Read what is done with pictures, from whichever file a version of the library wrote it to."""
    for name, part in _PROCESSORS:
        if (folder / name).is_file():
            told = read_json(folder / name)
            found = told if part is None else told.get(part)
            if isinstance(found, dict):
                return found
    raise ModelError(
        f"no preprocessor_config.json in {folder}; allowed: that, video_preprocessor_config.json or"
        " processor_config.json"
    )


def _read(folder: Path, kind: torch.dtype) -> Any:
    with quiet():
        try:
            model, found = AutoModel.from_pretrained(
                folder,
                dtype=kind,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, json.JSONDecodeError) as e:
            reason = " ".join(str(e).split())[:200]
            raise ModelError(f"{folder}: transformers cannot load it: {reason}") from e
        except Exception as error:
            if type(error).__name__ != "SafetensorError":
                raise
            raise ModelError(
                f"{folder}: its weights are damaged or cut short: {error}; copy or fetch it again"
            ) from error
    lacking = sorted(map(str, found["missing_keys"]))
    if lacking:
        raise ModelError(
            f"{folder}: {len(lacking)} weights of the model are not there, such as {lacking[0]}:"
            " the checkpoint is another model's, or not whole"
        )
    return model.eval().requires_grad_(False)


@contextmanager
def quiet() -> Iterator[None]:
    """Have transformers draw no bars and print no report of weights meanwhile."""
    drawn, level = said.is_progress_bar_enabled(), said.get_verbosity()
    said.disable_progress_bar()
    said.set_verbosity_error()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if drawn:
            said.enable_progress_bar()


def patches_of(values: Tensor, patch: int) -> Tensor:
    """Patches `[B, P, p·p·3]` of values `[B, 3, h, w]`, row by row, a pixel's colours together."""
    batch, _, tall, wide = values.shape
    grid = values.view(batch, 3, tall // patch, patch, wide // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, 3 * patch * patch)
