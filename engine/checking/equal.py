"""Our forward beside the library's whose checkpoint it is, on the same pictures and texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, AutoImageProcessor, AutoModel

from engine.checking.card import Difference
from engine.checking.frames import Picture
from engine.errors import ModelError
from engine.vision.backbone.checkpoint import is_open_clip
from engine.vision.backbone.library import quiet
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.open_clip import CONFIG, WEIGHTS
from engine.vision.backbone.preprocess import prepare
from engine.vision.model import Model

LARGEST = 1e-4  # between numbers of two unit vectors in float32
LEVELS = 2.5  # of 255, between two ways to resize a picture
_BATCH = 8
_WORDS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")
_PARTS = (ImportError, RuntimeError, OSError)  # a torchvision for another torch raises them all


@dataclass(frozen=True, slots=True)
class Reference:
    """A library's own model of the same checkpoint."""

    library: str
    values: Callable[[Picture], Tensor]  # a picture as its processor gives it, [1, 3, S, S]
    image: Callable[[Tensor], Tensor]
    tokens: Callable[[Sequence[str]], Tensor] | None  # None: it is given ours
    text: Callable[[Tensor], Tensor]


def reference_of(name: str, folder: Path) -> tuple[Reference | None, str]:
    """Load the library's own model; without one, say why there is none."""
    if is_open_clip(name, folder):
        return _of_open_clip(folder)
    if read_json(folder / "config.json").get("model_type") not in CONFIG_MAPPING:
        return None, "transformers has no class for it"
    return _of_transformers(folder), ""


@torch.inference_mode()
def compare(
    folder: Path,
    model: Model,
    reference: Reference,
    pictures: Sequence[Picture],
    texts: Sequence[str],
) -> Difference:
    """Embed pictures and texts both ways in float32 on the CPU; beyond the limits is an error.

    Args:
        folder: the checkpoint, which the library loads by itself.
        model: ours, in float32 on the CPU.
        reference: the library's.
        pictures: as they were decoded.
        texts: as a user types them.
    """
    pixels = torch.stack([prepare(each, model.preprocessing) for each in pictures])
    values = model.tower.normalise(pixels)
    theirs = torch.cat([reference.values(each) for each in pictures])
    if theirs.shape != values.shape:
        raise ModelError(
            f"{folder}: its processor gives {tuple(theirs.shape[1:])}, the tower takes"
            f" {tuple(values.shape[1:])}"
        )
    image, whole = _in_parts(reference.image, values), _in_parts(reference.image, theirs)
    ours, ids = _in_parts(model.tower, values), model.tokenize(texts)
    words = reference.text(reference.tokens(texts) if reference.tokens else ids)
    spread = torch.tensor(model.preprocessing.std).view(3, 1, 1)
    found = Difference(
        image=_largest(ours, image),
        text=_largest(model.text(ids), words),
        levels=float(((theirs - values) * spread * 255).abs().max()),
        preprocessed=_largest(ours, whole),
        num_images=len(pictures),
        num_texts=len(texts),
        library=reference.library,
    )
    judge(found, folder)
    return found


def judge(found: Difference, folder: Path) -> None:
    """Refuse what is too far from the library's own."""
    for what, off in (("pictures", found.image), ("texts", found.text)):
        if not off <= LARGEST:  # a NaN compares false
            raise ModelError(
                f"{folder}: our vectors of {what} are off {found.whose} by {off:.2g}; allowed:"
                f" {LARGEST:g}; do not use this model, and report it"
            )
    if not found.levels <= LEVELS:
        raise ModelError(
            f"{folder}: our preprocessing is off its processor's by {found.levels:.1f} of 255;"
            f" allowed: {LEVELS:g}; do not use this model, and report it"
        )


def _of_open_clip(folder: Path) -> tuple[Reference | None, str]:
    try:
        import open_clip  # an extra
    except _PARTS as error:
        reason = " ".join(str(error).split())[:100]
        return None, f"open_clip is not there to compare with ({reason})"
    with TemporaryDirectory() as only:  # without what may hold pickles, which it would read first
        for file in (CONFIG, WEIGHTS, *_WORDS):
            if (folder / file).exists():
                (Path(only) / file).symlink_to((folder / file).resolve())
        try:
            model, _, process = open_clip.create_model_and_transforms(f"local-dir:{only}")
            words = open_clip.get_tokenizer(f"local-dir:{only}")
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{folder}: open_clip cannot load it: {reason}") from error
    own = model.eval()
    return Reference(
        library="open_clip",
        values=lambda picture: process(Image.fromarray(picture))[None],
        image=own.encode_image,
        tokens=lambda texts: words(list(texts)),
        text=own.encode_text,
    ), ""


def _of_transformers(folder: Path) -> Reference:
    with quiet():
        try:
            processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
            loaded = AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{folder}: transformers cannot load it: {reason}") from error
    own: Any = loaded.eval()
    return Reference(
        library="transformers",
        values=lambda picture: processor(images=[picture], return_tensors="pt")["pixel_values"],
        image=lambda values: own.get_image_features(values).pooler_output,
        tokens=None,
        text=lambda ids: own.get_text_features(ids).pooler_output,
    )


def _in_parts(forward: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    return torch.cat([forward(part) for part in values.split(_BATCH)])


def _largest(one: Tensor, other: Tensor) -> float:
    other = other[:, : one.shape[1]]  # of a model whose vectors are cut, the library's are not
    differences = F.normalize(one, dim=-1) - F.normalize(other, dim=-1)
    return float(np.max(differences.abs().numpy()))
