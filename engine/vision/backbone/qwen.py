"""Qwen3-VL-Embedding: pictures and texts in a conversation, the state of its last token."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.vision.backbone.fit import Fit
from engine.vision.backbone.library import LibraryFamily, LibraryModel, LibraryParts
from engine.vision.backbone.preprocess import Preprocessing, resample_of, scaling_of

CONTEXT = 8192  # tokens that its makers cut at
OF_PICTURES = "Represent the user's input."
OF_QUERIES = "Retrieve images or text relevant to the user's query."
_LEAST, _MOST = 4, 1800  # merged patches of a picture, as its makers embed
_PICTURE = "<|vision_start|>{}<|vision_end|>"


def conversation(instruction: str, content: str) -> str:
    """Return what is embedded, as the model's card has it."""
    return (
        f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def _build(parts: LibraryParts) -> LibraryModel:
    told, config = parts.processor, parts.model.config
    patch, merged = int(told.get("patch_size", 16)), int(told.get("merge_size", 2))
    frames = int(told.get("temporal_patch_size", 2))
    step = patch * merged
    fit = Fit("qwen", step, most=_MOST * step**2, least=_LEAST * step**2)
    mean, std = scaling_of(told)
    preprocessing = Preprocessing(
        size=fit.side, resize=fit.side, mean=mean, std=std, mode="fit",
        resample=resample_of(told, 3), fit=fit,
    )  # fmt: skip
    soft = parts.tokenizer.convert_ids_to_tokens(config.image_token_id)

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        batch, _, tall, wide = pixels.shape
        rows, columns = tall // patch, wide // patch
        content = _PICTURE.format(soft * (rows * columns // merged**2))
        given = parts.tokens([conversation(OF_PICTURES, content)] * batch, CONTEXT)
        values = _laid_out(parts.scaled(pixels, preprocessing), patch, merged, frames)
        shape = torch.tensor([1, rows, columns], device=parts.device)
        return {
            **given,
            "pixel_values": values.flatten(0, 1),
            "image_grid_thw": shape.expand(batch, 3),
            "mm_token_type_ids": (given["input_ids"] == config.image_token_id).int(),
        }

    def embed(given: Mapping[str, Tensor]) -> Tensor:
        found = parts.model(**given, use_cache=False).last_hidden_state
        last = given["attention_mask"].sum(1) - 1
        return found[torch.arange(len(found), device=found.device), last]

    def texts(texts: Sequence[str]) -> Tensor:
        asked = [conversation(OF_QUERIES, text or "NULL") for text in texts]
        return embed(parts.tokens(asked, CONTEXT))

    return LibraryModel(
        dimension=config.text_config.hidden_size,
        preprocessing=preprocessing,
        inputs=inputs,
        pictures=embed,
        texts=texts,
        context=CONTEXT,
        layers=config.text_config.num_hidden_layers,
        vocabulary=config.text_config.vocab_size,
    )


def _laid_out(values: Tensor, patch: int, merged: int, frames: int) -> Tensor:
    """Patches `[B, P, 3·T·p·p]` of values `[B, 3, h, w]`: those that are merged lie together.

    A picture stands for all frames of a patch in time.
    """
    batch, _, tall, wide = values.shape
    grid = values.view(
        batch, 3, tall // (patch * merged), merged, patch, wide // (patch * merged), merged, patch
    )
    grid = grid.permute(0, 2, 5, 3, 6, 1, 4, 7)  # [B, R, C, m, m, 3, p, p]
    held = grid[..., None, :, :].expand(*grid.shape[:6], frames, patch, patch)
    return held.reshape(batch, (tall // patch) * (wide // patch), -1)


QWEN = LibraryFamily(
    "Qwen3-VL-Embedding",
    "Qwen3-VL-Embedding keeps each picture's own shape and runs by transformers",
    _build,
    batch=4,
)
