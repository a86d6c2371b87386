"""From an upright picture of any size to the square of bytes that the tower takes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.errors import ModelError
from engine.vision.backbone.fit import Fit

Triple = tuple[float, float, float]
FAR = 16  # edges of which one is this many times the other are shortened first
_RESAMPLE: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model's own processor does, as values; `canonical` identifies it."""

    size: int  # edge of the square given to the tower
    resize: int  # the shorter edge is resized to this, then the centre is cropped
    mean: Triple
    std: Triple
    # squash resizes both edges to `size`; pad the longer one, with black beside the shorter; fit
    # keeps a picture's shape in whole patches
    mode: Literal["crop", "squash", "pad", "fit"] = "crop"
    resample: Literal["bilinear", "bicubic"] = "bicubic"
    fit: Fit | None = None  # of that mode
    pictures: int = 1  # that one vector is of: more than one is a clip
    rounded: bool = False  # half a pixel beside the centre goes to the even one, as torchvision has

    @property
    def canonical(self) -> str:
        """Return the values as JSON with sorted keys; what most models lack stands if it is had."""
        told = asdict(self)
        if self.fit is None:
            del told["fit"]
        if self.pictures == 1:
            del told["pictures"]
        if not self.rounded:
            del told["rounded"]
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preprocessing":
        """Read a Hugging Face `preprocessor_config.json`."""
        size = config.get("size", 224)
        mean, std = scaling_of(config)
        shared: dict[str, Any] = {"mean": mean, "std": std, "resample": resample_of(config, 3)}
        if isinstance(size, Mapping) and "height" in size:
            if size["height"] != size["width"]:
                raise ModelError(f"preprocessor size {dict(size)}; allowed: a square")
            return cls(size=size["height"], resize=size["height"], mode="squash", **shared)
        resize = size["shortest_edge"] if isinstance(size, Mapping) else size
        crop = config.get("crop_size", resize)
        edge = crop["height"] if isinstance(crop, Mapping) else crop
        return cls(size=edge, resize=resize, **shared)


def resample_of(config: Mapping[str, Any], default: int) -> Literal["bilinear", "bicubic"]:
    """How a processor resizes."""
    resample = config.get("resample", default)
    if resample not in _RESAMPLE:
        raise ModelError(f"resample {resample} of the preprocessor; allowed: 2, 3")
    return _RESAMPLE[resample]


def scaling_of(config: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """Mean and deviation of values in 0 to 1 that give what the processor's steps give.

    Processors multiply bytes; some subtract 1 then; most normalise what comes of it.
    """
    factor = float(config.get("rescale_factor", 1 / 255)) * 255
    if not any(abs(factor - known) <= 1e-6 for known in (1, 2)):
        raise ModelError(f"rescale_factor {config['rescale_factor']}; allowed: 1/255, 1/127.5")
    scale = round(factor)
    less = float(bool(config.get("offset", False)))
    normal = config.get("do_normalize", True)
    mean = config.get("image_mean", (0.5,) * 3) if normal else (0.0,) * 3
    spread = config.get("image_std", (0.5,) * 3) if normal else (1.0,) * 3
    means = [(float(each) + less) / scale for each in mean]
    spreads = [float(each) / scale for each in spread]
    return (means[0], means[1], means[2]), (spreads[0], spreads[1], spreads[2])


def prepare(image: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Resize and crop one picture `[H, W, 3]` to bytes `[3, S, S]`, or as it fits."""
    return prepare_batch(torch.from_numpy(np.ascontiguousarray(image))[None], preprocessing)[0]


def prepare_batch(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize and crop pictures of one size, bytes `[B, H, W, 3]`, to bytes `[B, 3, S, S]`.

    Those that keep their shape become `[B, 3, h, w]`.

    Runs where the pictures are. On a CPU the resize is done in bytes as Pillow does it; on a GPU in
    float32 and rounded, which differs by at most one level, or two where the picture is enlarged.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"expected bytes [B, H, W, 3], got {images.dtype} {tuple(images.shape)}")
    if preprocessing.mode == "crop":
        images = _middle(images)
    height, width = images.shape[1:3]
    target = _target(height, width, preprocessing)
    pixels = images.permute(0, 3, 1, 2)
    if target != (height, width):
        pixels = (resize_float if pixels.is_cuda else _resize)(pixels, target, preprocessing)
    if preprocessing.fit is None:
        pixels = _centre(pixels, preprocessing.size, rounded=preprocessing.rounded)
    if pixels.is_cuda:
        return pixels.contiguous()
    # torch wakes all its threads for so small a copy, which takes far longer where cores are busy
    return torch.from_numpy(np.ascontiguousarray(pixels.numpy()))


def _middle(images: Tensor) -> Tensor:
    """Keep the middle of a picture that is far longer than wide: the rest would be cropped anyway.

    Resized whole, a line of 65,535 pixels would take ten gigabytes.
    """
    for axis in (1, 2):
        long, short = images.shape[axis], images.shape[3 - axis]
        if long > FAR * short:
            keep = FAR // 2 * short + long % 2  # as many are left out on both sides
            images = images.narrow(axis, (long - keep) // 2, keep)
    return images


def _resize(pixels: Tensor, target: tuple[int, int], preprocessing: Preprocessing) -> Tensor:
    return F.interpolate(
        pixels, target, mode=preprocessing.resample, antialias=True, align_corners=False
    )


def resize_float(pixels: Tensor, target: tuple[int, int], preprocessing: Preprocessing) -> Tensor:
    """Resize bytes `[B, 3, H, W]` in float32, rounded between width and height as Pillow does."""
    for size in ((pixels.shape[2], target[1]), target):
        values = _resize(pixels.float(), size, preprocessing)
        pixels = values.round().clamp(0, 255).to(torch.uint8)
    return pixels


def _target(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    if preprocessing.fit is not None:
        return preprocessing.fit.edges(height, width)
    if preprocessing.mode == "squash":
        return preprocessing.size, preprocessing.size
    edge = preprocessing.resize
    short = max(height, width) if preprocessing.mode == "pad" else min(height, width)
    return max(1, edge * height // short), max(1, edge * width // short)


def _centre(pixels: Tensor, size: int, *, rounded: bool) -> Tensor:
    """Crop the centre, padding with black where the picture is smaller than `size`."""
    height, width = pixels.shape[-2:]
    if height < size or width < size:
        tall, wide = max(size - height, 0), max(size - width, 0)
        pixels = F.pad(pixels, (-(-wide // 2), wide // 2, -(-tall // 2), tall // 2))
        height, width = pixels.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    if rounded:
        top, left = round((height - size) / 2), round((width - size) / 2)
    return pixels[..., top : top + size, left : left + size]
