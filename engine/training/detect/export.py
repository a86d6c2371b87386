"""A trained detector as a folder in Hugging Face's format."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.vision.backbone.dense import DenseDetector, combined
from engine.vision.backbone.folder import write_folder
from engine.vision.backbone.tower import VisionConfig
from engine.vision.backbone.windowed import name_windowed


def export_detector(
    detector: DenseDetector,
    attributes: Sequence[Sequence[str]],
    source: VisionConfig,
    folder: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write configuration, processor and weights."""
    shape = detector.config.tower
    labels = combined(attributes)
    config = {
        "model_type": "vitdet",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "mlp_ratio": shape.mlp // shape.width,
        "image_size": shape.side * shape.patch,
        "pretrain_image_size": shape.trained * shape.patch,
        "patch_size": shape.patch,
        "window_size": shape.window,
        "window_block_indices": sorted(shape.windowed),
        "use_relative_position_embeddings": shape.relative,
        "hidden_act": shape.activation,
        "layer_norm_eps": shape.eps,
        "pre_norm": shape.pre_norm,
        "head_hidden_size": detector.config.hidden,
        "attributes": [list(values) for values in attributes],
        "id2label": {str(at): label for at, label in enumerate(labels)},
    }
    edge = shape.side * shape.patch
    processor = {
        "size": {"height": edge, "width": edge},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": list(source.mean),
        "image_std": list(source.std),
    }
    tensors: dict[str, Tensor] = dict(name_windowed(detector.tower))
    for name, tensor in detector.head.state_dict().items():
        tensors[f"head.{name}"] = tensor
    write_folder(folder, config, processor, tensors, dtype)
