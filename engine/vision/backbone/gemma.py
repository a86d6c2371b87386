"""EmbeddingGemma 2: pictures and texts through one text encoder, the mean of its tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.vision.backbone.fit import Fit
from engine.vision.backbone.library import LibraryFamily, LibraryModel, LibraryParts, patches_of
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.preprocess import Preprocessing, resample_of, scaling_of

CONTEXT = 8192  # tokens that it was made for
PROMPT = "task: search result | query: "  # of a query, where the folder names no other
_SENTENCES = "config_sentence_transformers.json"


def _build(parts: LibraryParts) -> LibraryModel:
    told, config = parts.processor, parts.model.config
    patch, pooled = int(told.get("patch_size", 16)), int(told.get("pooling_kernel_size", 3))
    tokens = int(told.get("max_soft_tokens", 280))
    fit = Fit("gemma", pooled * patch, tokens * (pooled * patch) ** 2)
    mean, std = scaling_of({"do_normalize": False, **told})
    preprocessing = Preprocessing(
        size=fit.side, resize=fit.side, mean=mean, std=std, mode="fit",
        resample=resample_of(told, 3), fit=fit,
    )  # fmt: skip
    before = "" if parts.prompt else query_prompt(parts.folder)
    name = parts.tokenizer.convert_ids_to_tokens
    begin, soft, end = name([config.boi_token_id, config.image_token_id, config.eoi_token_id])

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        batch, _, tall, wide = pixels.shape
        rows, columns = tall // patch, wide // patch
        at = torch.arange(rows * columns, device=parts.device)
        places = torch.stack([at % columns, at // columns], dim=-1)
        asked = begin + soft * (rows * columns // pooled**2) + end
        return {
            "pixel_values": patches_of(parts.scaled(pixels, preprocessing), patch),
            "image_position_ids": places.expand(batch, -1, -1),
            **parts.tokens([asked] * batch, CONTEXT),
        }

    def embed(given: Mapping[str, Tensor]) -> Tensor:
        found = parts.model(**given).last_hidden_state
        there = given["attention_mask"][..., None].to(found.dtype)
        return (found * there).sum(1) / there.sum(1)

    def texts(texts: Sequence[str]) -> Tensor:
        return embed(parts.tokens([before + text for text in texts], CONTEXT))

    return LibraryModel(
        dimension=config.text_config.embedding_dim,
        preprocessing=preprocessing,
        inputs=inputs,
        pictures=embed,
        texts=texts,
        context=CONTEXT,
        layers=config.text_config.num_hidden_layers,
        vocabulary=config.text_config.vocab_size,
    )


def query_prompt(folder: Path) -> str:
    """Return what stands before a query, as a folder says or else as its makers do."""
    if not (folder / _SENTENCES).is_file():
        return PROMPT
    prompts = read_json(folder / _SENTENCES).get("prompts")
    found = prompts.get("query") if isinstance(prompts, dict) else None
    return found if isinstance(found, str) else PROMPT


GEMMA = LibraryFamily(
    "EmbeddingGemma 2",
    "EmbeddingGemma 2 keeps each picture's own shape and runs by transformers",
    _build,
    half=False,
    batch=4,
)
