"""A model that finds objects in pictures, and the identity of what it gives."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import UsageError, unknown
from engine.vision.backbone.detector_families import (
    NOTHING,
    detector_family_of,
    object_groups,
    object_labels,
)
from engine.vision.backbone.fitting import Fitting
from engine.vision.backbone.locate import BUILTIN, locate, read_json
from engine.vision.backbone.space import Space
from engine.vision.backbone.weights import hash_files, weight_files
from engine.vision.model import pick_device

MOST = 32  # objects of a picture that are kept, the likeliest
FLOOR = 0.05  # the least score of one that is kept
NUMBERS = 7  # of each: score, the label in two digits, the box's four sides
_DIGIT = 64  # base of a label's digits
_MOST_LABELS = _DIGIT**2
DIMENSION = MOST * NUMBERS + 1


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of pictures, the likeliest first; those of score 0 are none."""

    scores: Tensor  # float32 [B, K]
    labels: Tensor  # int64 [B, K]
    boxes: Tensor  # float32 [B, K, 4]: left, top, right, bottom in shares of the picture

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, labels and boxes."""
        return self.scores, self.labels, self.boxes

    def packed(self) -> NDArray[np.float32]:
        """Vectors `[B, 7·MOST + 1]` of length 1 that hold all of it, as they are stored."""
        count = self.scores.shape[1]
        told = torch.zeros(len(self.scores), MOST, NUMBERS)
        told[:, :count, 0] = self.scores
        told[:, :count, 1] = (self.labels // _DIGIT) / _DIGIT
        told[:, :count, 2] = (self.labels % _DIGIT) / _DIGIT
        told[:, :count, 3:] = self.boxes
        flat = told.flatten(1) / (MOST * NUMBERS) ** 0.5
        rest = (1 - flat.double().square().sum(1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([flat, rest.float()], dim=1).numpy()

    @classmethod
    def unpacked(cls, vectors: NDArray[np.floating]) -> "Objects":
        """Read stored vectors."""
        flat = torch.from_numpy(np.asarray(vectors, np.float32)[:, :-1])
        told = (flat * (MOST * NUMBERS) ** 0.5).view(-1, MOST, NUMBERS)
        digits = (told[..., 1:3] * _DIGIT).round().long()
        labels = digits[..., 0] * _DIGIT + digits[..., 1]
        told = told.clamp(max=1)  # what float16 rounded up
        return cls(told[..., 0], labels, told[..., 3:])


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector, ready to run."""

    tower: nn.Module
    labels: tuple[str, ...]  # of the classes, in the order of their scores
    groups: Mapping[str, tuple[int, ...]]  # words that stand for several of them
    one_label: bool
    fitting: Fitting
    space: Space

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]], *, batch: int = 8) -> Objects:
        """Find objects in pictures `[H, W, 3]` of one size."""
        like = next(self.tower.parameters())
        found: list[Objects] = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            values = torch.stack([self.fitting.fit(image) for image in part])
            logits, boxes = self.tower(values.to(like.device, like.dtype))
            found.append(choose(logits.float().cpu(), boxes.float().cpu(), self.one_label))
        if not found:
            return Objects(torch.empty(0, 0), torch.empty(0, 0).long(), torch.empty(0, 0, 4))
        return Objects(
            torch.cat([each.scores for each in found]),
            torch.cat([each.labels for each in found]),
            torch.cat([each.boxes for each in found]),
        )

    def places(self, label: str) -> tuple[int, ...]:
        """Return a label's place among the scores, or those that a word stands for.

        One that the model does not know is refused.
        """
        if label in self.groups:
            return self.groups[label]
        named = [name for name in self.labels if name != NOTHING]
        if label not in named:
            kind, how = f"object of {self.space.name}", "dejavu-engine models labels detector"
            listed, more = (self.groups, named) if self.groups else (named, ())
            raise UsageError(unknown(kind, label, listed, more=more, how=how))
        return (self.labels.index(label),)


def choose(logits: Tensor, boxes: Tensor, one_label: bool) -> Objects:
    """Keep the likeliest objects of class scores `[B, Q, C]` and boxes by centre `[B, Q, 4]`."""
    if one_label:
        scores, labels = logits.softmax(-1)[..., :-1].max(-1)
        scores, at = scores.topk(min(MOST, scores.shape[1]), dim=1)
        labels = labels.gather(1, at)
    else:
        shares = logits.sigmoid().flatten(1)
        scores, places = shares.topk(min(MOST, shares.shape[1]), dim=1)
        at, labels = places // logits.shape[-1], places % logits.shape[-1]
    x, y, w, h = boxes.gather(1, at[..., None].expand(-1, -1, 4)).unbind(-1)
    sides = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1).clamp(0, 1)
    kept = scores >= FLOOR
    return Objects(scores * kept, labels * kept, sides * kept[..., None])


def detector_folder(name: str, revision: str | None = None) -> tuple[Path, str]:
    """Return a detector's folder and its commit."""
    return (BUILTIN / "detector", "local") if name == "builtin" else locate(name, revision)


def load_detector(
    name: str = "builtin",
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
) -> Detector:
    """Load `builtin`, a folder in Hugging Face's format or a hub id; safetensors only.

    The default type is float32: scores near a cut-off are few thousandths apart.
    """
    folder, commit = detector_folder(name, revision)
    raw = read_json(folder / "config.json")
    family = detector_family_of(str(raw.get("model_type")), folder)
    config = family.read(folder)
    labels = object_labels(config)
    if len(labels) > _MOST_LABELS:
        raise UsageError(f"{folder} has {len(labels)} labels; allowed: up to {_MOST_LABELS}")
    processor = read_json(folder / "preprocessor_config.json")
    fitting = Fitting.from_config(processor, multiple=family.multiple, smooth=family.smooth)
    tower = family.build(folder, config).to(pick_device(device), dtype or torch.float32)
    told = {**asdict(fitting), "most": MOST, "floor": FLOOR}
    space = Space(
        name="builtin-detector"
        if name == "builtin"
        else re.sub(r"[^\w.-]+", "-", Path(name).name) + "-objects",
        model=name,
        revision=commit,
        weight_hash=hash_files(weight_files(folder)),
        preprocessing=json.dumps(told, sort_keys=True, separators=(",", ":")),
        dimension=DIMENSION,
    )
    groups = object_groups(config)
    return Detector(tower, labels, groups, family.one_label, fitting, space)
