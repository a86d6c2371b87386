"""A model that names what happens in a clip, and the identity of what it gives."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ModelError, UsageError, unknown
from engine.vision.backbone.locate import BUILTIN, locate, read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.space import Space
from engine.vision.backbone.video import VideoTower
from engine.vision.backbone.video_families import AnyVideoTower, labels_of, video_family_of
from engine.vision.backbone.weights import (
    hash_files,
    read_tensors,
    weight_files,
)
from engine.vision.model import pick_device
from engine.vision.runlength.joint import RunLengthVideo

FPS = (
    7.5  # of clips, where a model does not say: every fourth frame of 30 a second, as for Kinetics
)


@dataclass(frozen=True, slots=True)
class ActionModel:
    """A video classifier, ready to run."""

    tower: AnyVideoTower
    labels: tuple[str, ...]  # of the classes, in the order of their scores
    fps: float  # of the frames of a clip
    preprocessing: Preprocessing
    space: Space

    @property
    def seconds(self) -> float:
        """How long a clip is."""
        return self.tower.config.num_frames / self.fps

    @torch.inference_mode()
    def classify(self, clips: Tensor, *, batch: int = 8, threshold: float | None = None) -> Tensor:
        """Probabilities of the labels, float32 `[B, C]`, of clips of bytes `[B, F, 3, S, S]`.

        With a threshold by the tokens alone that begin a run; without one by all.
        """
        tower, config = self.tower, self.tower.config
        size = (config.num_frames, 3, config.image_size, config.image_size)
        if clips.shape[1:] != size or clips.dtype != torch.uint8:
            raise UsageError(
                f"clips must be uint8 {['B', *size]}, got {clips.dtype} {list(clips.shape)}"
            )
        if not len(clips):
            return torch.empty(0, config.classes)
        if threshold is not None:
            if not isinstance(tower, VideoTower):
                raise UsageError(f"{self.space.name} sees frames apart; allowed: without threshold")
            return RunLengthVideo(tower, threshold).classify(clips).scores.softmax(-1)
        scores = [tower(tower.normalise(part)).float() for part in clips.split(batch)]
        return torch.cat(scores).softmax(-1)

    def label_index(self, label: str) -> int:
        """Return a label's place among the scores; one that the model does not know is refused."""
        if label not in self.labels:
            kind, how = f"action of {self.space.name}", "dejavu-engine models labels action"
            raise UsageError(unknown(kind, label, self.labels, how=how))
        return self.labels.index(label)


def action_folder(name: str, revision: str | None = None) -> tuple[Path, str]:
    """Return a video classifier's folder and its commit."""
    return (BUILTIN / "action", "local") if name == "builtin" else locate(name, revision)


def load_action_model(
    name: str = "builtin",
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
) -> ActionModel:
    """Load `builtin`, a folder in Hugging Face's format or a hub id; safetensors only.

    The default type is bfloat16 on a GPU, float32 on a CPU.
    """
    folder, commit = action_folder(name, revision)
    place = pick_device(device)
    raw = read_json(folder / "config.json")
    family = video_family_of(str(raw.get("model_type")), folder)
    config = family.read(folder)
    preprocessing = Preprocessing.from_config(read_json(folder / "preprocessor_config.json"))
    files = weight_files(folder)
    tower = family.build(config, preprocessing, read_tensors(files))
    shape = tower.config
    if shape.image_size != preprocessing.size:
        raise ModelError(
            f"{folder}: the tower takes {shape.image_size} pixels, its processor gives "
            f"{preprocessing.size}"
        )
    kind = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    return ActionModel(
        tower=tower.to(place, kind),
        labels=labels_of(config),
        fps=float(config.get("clip_fps", FPS)),
        preprocessing=preprocessing,
        space=Space(
            name="builtin-action"
            if name == "builtin"
            else re.sub(r"[^\w.-]+", "-", Path(name).name),
            model=name,
            revision=commit,
            weight_hash=hash_files(files),
            preprocessing=preprocessing.canonical,
            dimension=shape.classes,
        ),
    )
