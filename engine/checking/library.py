"""A model by transformers' own class beside itself: its own preprocessing, and one by one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor

from engine.checking.card import Difference
from engine.checking.frames import Picture
from engine.errors import ModelError
from engine.vision.backbone.library import LibraryCheckpoint, LibraryFamily, load_library, quiet
from engine.vision.backbone.named import parse_name
from engine.vision.backbone.preprocess import Preprocessing, prepare
from engine.vision.model import Model

Inputs = Mapping[str, Tensor]


@torch.inference_mode()
def compare_library(
    name: str,
    family: LibraryFamily,
    folder: Path,
    model: Model,
    pictures: Sequence[Picture],
    texts: Sequence[str],
) -> tuple[Difference | None, str]:
    """Compare what the library's own processor gives with ours, and vectors alone and in batches.

    Returns None, and why, where the processor cannot be had.
    """
    own = load_library(family, folder, torch.device("cpu"), torch.float32, parse_name(name).prompt)
    process, lacking = _processor(own)
    if process is None:
        return None, lacking
    levels, alone, theirs = 0.0, list[Tensor](), list[Tensor]()
    for picture in pictures:
        ours, given = own.model.inputs(_one(picture, model.preprocessing)), process(picture)
        levels = max(levels, _levels(ours, given, model.preprocessing, folder))
        alone.append(own.model.pictures(ours))
        theirs.append(own.model.pictures({name: given.get(name, ours[name]) for name in ours}))
    together = torch.from_numpy(model.embed_images(pictures))
    words = torch.from_numpy(model.embed_texts(texts))
    by_one = torch.cat([own.model.texts([text]) for text in texts])
    return Difference(
        image=_largest(together, torch.cat(alone)),
        text=_largest(words, by_one),
        levels=levels,
        preprocessed=_largest(together, torch.cat(theirs)),
        num_images=len(pictures),
        num_texts=len(texts),
    ), ""


def _processor(own: LibraryCheckpoint) -> tuple[Callable[[Picture], Inputs] | None, str]:
    """Return the library's own preprocessing of one picture; else why there is none."""
    preprocessing = own.model.preprocessing
    try:
        with quiet():
            process: Any = AutoImageProcessor.from_pretrained(own.parts.folder, backend="pil")
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        return None, f"transformers' own processor is not there to compare with ({reason})"
    given: dict[str, Any] = {}
    if preprocessing.fit is not None and preprocessing.fit.rule == "qwen":
        fit = preprocessing.fit  # its makers embed smaller pictures than the processor says
        given["size"] = {"shortest_edge": fit.least, "longest_edge": fit.most}

    def processed(picture: Picture) -> Inputs:
        found = process(images=[picture], return_tensors="pt", **given)
        if preprocessing.pictures == 1:
            return dict(found)
        still = found["pixel_values"][:, None].expand(-1, preprocessing.pictures, -1, -1, -1)
        return {"pixel_values": still}

    return processed, ""


def _one(picture: Picture, preprocessing: Preprocessing) -> Tensor:
    pixels, held = prepare(picture, preprocessing)[None], preprocessing.pictures
    return pixels if held == 1 else pixels[:, None].expand(-1, held, -1, -1, -1)


def _levels(ours: Inputs, theirs: Inputs, preprocessing: Preprocessing, folder: Path) -> float:
    """Largest difference of values, in levels of 255; padding behind them is left out."""
    mine, other = ours["pixel_values"], theirs["pixel_values"]
    if mine.ndim == 3:
        other = other[:, : mine.shape[1]]
    if mine.shape != other.shape:
        raise ModelError(
            f"{folder}: its processor gives {tuple(other.shape)}, we {tuple(mine.shape)}"
        )
    return float((mine - other).abs().max()) * max(preprocessing.std) * 255


def _largest(one: Tensor, other: Tensor) -> float:
    other = other[:, : one.shape[1]].float()
    return float((one - F.normalize(other, dim=-1)).abs().max())
