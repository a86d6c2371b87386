"""From an upright picture of any size to what a detector takes, its sides kept or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.errors import ModelError
from engine.vision.backbone.preprocess import Triple, scaling_of


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a detector's own processor does with one picture, as values that identify it.

    `height` and `width` are what it becomes; without them its shorter edge becomes `shortest`
    unless its longer one would be more than `longest`.
    """

    mean: Triple
    std: Triple
    height: int | None = None
    width: int | None = None
    shortest: int = 0
    longest: int = 0
    multiple: int = 1  # that both edges are cut down to
    smooth: bool = True  # resized in bytes with antialiasing, else in numbers without

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, multiple: int, smooth: bool) -> "Fitting":
        """Read a Hugging Face `preprocessor_config.json`."""
        if config.get("resample", 2) != 2:
            raise ModelError(f"resample {config['resample']} of the preprocessor; allowed: 2")
        mean, std = scaling_of(config)
        size = config.get("size")
        shared: dict[str, Any] = {"mean": mean, "std": std, "smooth": smooth}
        if isinstance(size, Mapping) and "height" in size and "width" in size:
            return cls(height=size["height"], width=size["width"], **shared)
        if isinstance(size, Mapping) and "shortest_edge" in size and "longest_edge" in size:
            edges = {"shortest": size["shortest_edge"], "longest": size["longest_edge"]}
            return cls(**edges, multiple=multiple, **shared)
        raise ModelError(
            f"preprocessor size {size}; allowed: height and width, or shortest_edge and"
            " longest_edge"
        )

    def edges(self, height: int, width: int) -> tuple[int, int]:
        """Return the size that a picture becomes."""
        if self.height is not None and self.width is not None:
            return self.height, self.width
        short, long = min(height, width), max(height, width)
        edge, exact = self.shortest, float(self.shortest)
        if long / short * edge > self.longest:
            exact = self.longest * short / long
            edge = round(exact)
        if short == edge:
            made = height, width
        elif width < height:
            made = int(exact * height / width), edge
        else:
            made = edge, int(exact * width / height)
        tall, wide = (max(self.multiple, each - each % self.multiple) for each in made)
        return tall, wide

    def fit(self, image: NDArray[np.uint8]) -> Tensor:
        """Resize and normalise a picture `[H, W, 3]` to float32 `[3, h, w]`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        edges = self.edges(*image.shape[:2])
        mean, std = torch.tensor([self.mean, self.std]).view(2, 3, 1, 1)
        if not self.smooth:
            values = F.interpolate(pixels.float() / 255, edges, mode="bilinear")
        elif edges != image.shape[:2]:
            values = F.interpolate(pixels, edges, mode="bilinear", antialias=True).float() / 255
        else:
            values = pixels.float() / 255
        return ((values - mean) / std)[0]
