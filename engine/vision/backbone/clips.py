"""Encoders of clips, X-CLIP and VideoPrism: one vector of several pictures in order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from engine.vision.backbone.library import LibraryFamily, LibraryModel, LibraryParts
from engine.vision.backbone.preprocess import Preprocessing


def _x_clip(parts: LibraryParts) -> LibraryModel:
    config = parts.model.config
    words, seen = config.text_config, config.vision_config
    preprocessing = replace(Preprocessing.from_config(parts.processor), pictures=seen.num_frames)

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        return {"pixel_values": parts.scaled(pixels, preprocessing)}

    def texts(texts: Sequence[str]) -> Tensor:
        given = parts.tokens(texts, words.max_position_embeddings)
        return parts.model.get_text_features(**given).pooler_output

    def pictures(given: Mapping[str, Tensor]) -> Tensor:
        return parts.model.get_video_features(**given).pooler_output

    return LibraryModel(
        dimension=config.projection_dim,
        preprocessing=preprocessing,
        inputs=inputs,
        pictures=pictures,
        texts=texts,
        context=words.max_position_embeddings,
        layers=seen.num_hidden_layers,
        vocabulary=words.vocab_size,
    )


def _videoprism(parts: LibraryParts) -> LibraryModel:
    config = parts.model.config
    words, seen = config.text_config, config.vision_config
    preprocessing = replace(Preprocessing.from_config(parts.processor), pictures=seen.num_frames)

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        return {"pixel_values_videos": parts.scaled(pixels, preprocessing)}

    def texts(texts: Sequence[str]) -> Tensor:
        given = parts.tokens(texts, words.max_position_embeddings, padding="max_length")
        return parts.model.get_text_features(**given).pooler_output

    def pictures(given: Mapping[str, Tensor]) -> Tensor:
        return parts.model.get_video_features(**given).pooler_output.flatten(1)

    return LibraryModel(
        dimension=seen.hidden_size,
        preprocessing=preprocessing,
        inputs=inputs,
        pictures=pictures,
        texts=texts,
        context=words.max_position_embeddings,
        layers=seen.num_spatial_layers + seen.num_temporal_layers,
        vocabulary=words.vocab_size,
    )


X_CLIP = LibraryFamily(
    "X-CLIP", "X-CLIP's vectors are of clips and its forward is transformers'", _x_clip, batch=4
)
VIDEOPRISM = LibraryFamily(
    "VideoPrism",
    "VideoPrism's vectors are of clips and its forward is transformers'",
    _videoprism,
    batch=4,
)
