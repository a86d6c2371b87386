"""A trained video classifier as a folder in Hugging Face's format."""

from pathlib import Path

import torch
from torch import Tensor

from engine.vision.backbone.folder import write_folder
from engine.vision.backbone.video import VideoTower

_LAYER = {
    "norm1": "layernorm_before",
    "out": "attention.output.dense",
    "norm2": "layernorm_after",
    "up": "intermediate.dense",
    "down": "output.dense",
}


def export_action(
    tower: VideoTower,
    labels: tuple[str, ...],
    fps: float,
    folder: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write configuration, processor and weights."""
    shape = tower.config
    config = {
        "model_type": "videomae",
        "architectures": ["VideoMAEForVideoClassification"],
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.mlp,
        "image_size": shape.image_size,
        "patch_size": shape.patch,
        "tubelet_size": shape.tubelet,
        "num_frames": shape.num_frames,
        "hidden_act": shape.activation,
        "layer_norm_eps": shape.eps,
        "qv_bias": True,
        "use_mean_pooling": True,
        "id2label": {str(at): label for at, label in enumerate(labels)},
        "label2id": {label: at for at, label in enumerate(labels)},
        "clip_fps": fps,
    }
    edge = {"height": shape.image_size, "width": shape.image_size}
    processor = {
        "image_processor_type": "VideoMAEImageProcessor",
        "size": {"shortest_edge": shape.image_size},
        "crop_size": edge,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": list(shape.mean),
        "image_std": list(shape.std),
    }
    write_folder(folder, config, processor, _renamed(tower), dtype)


def _renamed(tower: VideoTower) -> dict[str, Tensor]:
    """Hugging Face's names; a bias of keys shifts all scores of a query alike, and is left out."""
    state = {name: tensor.detach().cpu() for name, tensor in tower.state_dict().items()}
    shape = tower.config
    edges = (3, shape.tubelet, shape.patch, shape.patch)
    told = {
        "videomae.embeddings.patch_embeddings.projection.weight": state["patch.weight"].view(
            shape.width, *edges
        ),
        "videomae.embeddings.patch_embeddings.projection.bias": state["patch.bias"],
        "fc_norm.weight": state["post.weight"],
        "fc_norm.bias": state["post.bias"],
        "classifier.weight": state["head.weight"],
        "classifier.bias": state["head.bias"],
    }
    for index in range(shape.layers):
        ours, theirs = f"layers.{index}", f"videomae.encoder.layer.{index}"
        for name, other in _LAYER.items():
            for kind in ("weight", "bias"):
                told[f"{theirs}.{other}.{kind}"] = state[f"{ours}.{name}.{kind}"]
        inner = f"{theirs}.attention.attention"
        for part, rows in zip(
            ("query", "key", "value"), state[f"{ours}.qkv.weight"].chunk(3), strict=True
        ):
            told[f"{inner}.{part}.weight"] = rows
        q, _, v = torch.chunk(state[f"{ours}.qkv.bias"], 3)
        told |= {f"{inner}.q_bias": q, f"{inner}.v_bias": v}
    return told
