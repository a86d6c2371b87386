"""A checkpoint's folder, taken apart: shapes and tensors of both towers, by our names."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import ModelError
from engine.vision.backbone.families import Tensors, family_of
from engine.vision.backbone.locate import OPEN_CLIP, read_json
from engine.vision.backbone.open_clip import CONFIG, WEIGHTS, OpenClip, split_open_clip
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.text import TextConfig
from engine.vision.backbone.tower import VisionConfig
from engine.vision.backbone.weights import pickles, read_tensors, weight_files


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a folder holds."""

    files: tuple[Path, ...]  # of weights
    vision: VisionConfig
    text: TextConfig
    vision_tensors: Tensors
    text_tensors: Tensors
    preprocessing: Preprocessing
    logit_scale: float  # what the model was trained to multiply cosines with

    def cut(self, dim: int | None, name: str) -> "Checkpoint":
        """Return it with the first numbers of its vectors alone, as Matryoshka models allow."""
        if dim is None:
            return self
        if dim > self.vision.dimension:
            raise ModelError(f"{name}: dim {dim}; allowed: at most {self.vision.dimension}")
        towers = [
            {name: each[:dim] if name.startswith("head.") else each for name, each in part.items()}
            for part in (self.vision_tensors, self.text_tensors)
        ]
        return replace(
            self,
            vision=replace(self.vision, dimension=dim),
            text=replace(self.text, dimension=dim),
            vision_tensors=towers[0],
            text_tensors=towers[1],
        )


def is_open_clip(name: str, folder: Path) -> bool:
    """Whether a folder is read as open_clip's: so named, or in no other format."""
    if name.startswith(OPEN_CLIP):
        return True
    own = folder / "config.json"
    other = own.is_file() and "model_type" in read_json(own)
    return (folder / CONFIG).is_file() and not other


def weights_of(name: str, folder: Path) -> list[Path]:
    """Return the files of weights; a checkpoint in another format is an error."""
    if not is_open_clip(name, folder):
        return weight_files(folder)
    if not (file := folder / WEIGHTS).is_file():
        hint = f"; found {', '.join(others)}" if (others := pickles(folder)) else ""
        raise ModelError(f"no {WEIGHTS} in {folder}{hint}; allowed: safetensors only")
    return [file]


def read_checkpoint(name: str, folder: Path) -> Checkpoint:
    """Read a folder in Hugging Face's or open_clip's format."""
    reading = _read_open_clip if is_open_clip(name, folder) else _read_hugging_face
    found = reading(name, folder)
    if found.vision.image_size != found.preprocessing.size:
        raise ModelError(
            f"{folder}: the tower takes {found.vision.image_size} pixels, its processor gives "
            f"{found.preprocessing.size}"
        )
    return found


def _read_hugging_face(name: str, folder: Path) -> Checkpoint:
    raw = read_json(folder / "config.json")
    family = family_of(str(raw.get("model_type")), folder)
    config = family.read(folder)
    preprocessing = Preprocessing.from_config(read_json(folder / "preprocessor_config.json"))
    files = weights_of(name, folder)
    tensors = read_tensors(files)
    vision, text = family.split(tensors)
    _check_text(text, folder)
    return Checkpoint(
        tuple(files),
        family.vision(config, preprocessing.mean, preprocessing.std),
        family.text(config),
        vision,
        text,
        preprocessing,
        math.exp(float(tensors["logit_scale"])),
    )


def _read_open_clip(name: str, folder: Path) -> Checkpoint:
    told = OpenClip.read(folder)
    preprocessing = told.preprocessing()
    files = weights_of(name, folder)
    tensors = read_tensors(files)
    vision, text = split_open_clip(tensors)
    _check_text(text, folder)
    return Checkpoint(
        tuple(files),
        told.vision(vision, preprocessing),
        told.text(text),
        vision,
        text,
        preprocessing,
        math.exp(float(tensors["logit_scale"])),
    )


def _check_text(text: Tensors, folder: Path) -> None:
    if not text:
        raise ModelError(f"{folder}: no text tower among the weights, so that texts find nothing")
