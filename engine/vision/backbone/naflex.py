"""SigLIP 2 with NaFlex: a picture keeps its shape, in at most so many patches."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.vision.backbone.fit import Fit
from engine.vision.backbone.library import LibraryFamily, LibraryModel, LibraryParts, patches_of
from engine.vision.backbone.preprocess import Preprocessing, resample_of, scaling_of


def _build(parts: LibraryParts) -> LibraryModel:
    told, config = parts.processor, parts.model.config
    patch = int(told.get("patch_size", 16))
    most = int(told.get("max_num_patches", 256))
    fit = Fit("naflex", patch, most * patch**2)
    mean, std = scaling_of(told)
    preprocessing = Preprocessing(
        size=fit.side, resize=fit.side, mean=mean, std=std, mode="fit",
        resample=resample_of(told, 2), fit=fit,
    )  # fmt: skip
    words = config.text_config

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        batch, _, tall, wide = pixels.shape
        values = patches_of(parts.scaled(pixels, preprocessing), patch)
        shape = torch.tensor([tall // patch, wide // patch], device=parts.device)
        return {
            "pixel_values": values,
            "pixel_attention_mask": values.new_ones(values.shape[:2], dtype=torch.int32),
            "spatial_shapes": shape.expand(batch, 2),
        }

    def pictures(given: Mapping[str, Tensor]) -> Tensor:
        return parts.model.get_image_features(**given).pooler_output

    def texts(texts: Sequence[str]) -> Tensor:
        small = [text.lower() for text in texts]
        ids = parts.tokens(small, words.max_position_embeddings, padding="max_length")
        return parts.model.get_text_features(ids["input_ids"]).pooler_output

    return LibraryModel(
        dimension=config.vision_config.hidden_size,
        preprocessing=preprocessing,
        inputs=inputs,
        pictures=pictures,
        texts=texts,
        context=words.max_position_embeddings,
        layers=config.vision_config.num_hidden_layers,
        vocabulary=words.vocab_size,
    )


NAFLEX = LibraryFamily(
    "SigLIP 2 NaFlex",
    "SigLIP 2 NaFlex keeps each picture's own shape and runs by transformers",
    _build,
)
