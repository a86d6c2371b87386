"""Hugging Face's names of a plain vision transformer's tensors, in ours: ViT, VideoMAE, ViViT."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from engine.errors import ModelError

_LAYER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "out",
    "layernorm_after": "norm2",
    "intermediate.dense": "up",
    "output.dense": "down",
}
_OUTER = {
    "embeddings.patch_embeddings.projection.weight": "patch.weight",
    "embeddings.patch_embeddings.projection.bias": "patch.bias",
    "embeddings.position_embeddings": "position",
    "embeddings.cls_token": "class_token",
    "layernorm.weight": "post.weight",
    "layernorm.bias": "post.bias",
}
_HEAD = {
    "classifier.weight": "head.weight",
    "classifier.bias": "head.bias",
    "fc_norm.weight": "post.weight",
    "fc_norm.bias": "post.bias",
}


def rename_vit(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors; one that no plain vision transformer has is refused.

    Queries, keys and values come to lie side by side. Keys without a bias, as VideoMAE has them,
    get one of zeros: it would add the same to all scores of a query.
    """
    renamed = {_rename(name, prefix): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if name.endswith(".q_bias"):
            renamed[_rename(name, prefix)[:-1] + "k"] = torch.zeros_like(tensor)
    if "patch.weight" in renamed:
        renamed["patch.weight"] = renamed["patch.weight"].flatten(1)
    if "position" in renamed:
        renamed["position"] = renamed["position"][0]
    if "class_token" in renamed:
        renamed["class_token"] = renamed["class_token"].flatten()
    return _joined(renamed)


def _rename(name: str, prefix: str) -> str:
    if name in _HEAD:
        return _HEAD[name]
    start, _, rest = name.partition(".")
    if start == prefix:
        if rest in _OUTER:
            return _OUTER[rest]
        if found := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", rest):
            index, part, kind = found.groups()
            if part in _LAYER:
                return f"layers.{index}.{_LAYER[part]}.{kind}"
            if inner := re.fullmatch(r"attention\.attention\.(query|key|value)", part):
                return f"layers.{index}.qkv.{kind}.{inner[1][0]}"
        if found := re.fullmatch(r"encoder\.layer\.(\d+)\.attention\.attention\.([qv])_bias", rest):
            return f"layers.{found[1]}.qkv.bias.{found[2]}"
    raise ModelError(f"unknown tensor {name!r} in the checkpoint")


def _joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put queries, keys and values side by side."""
    apart = re.compile(r"(.+\.qkv\.(?:weight|bias))\.[qkv]")
    joined = {name: tensor for name, tensor in tensors.items() if not apart.fullmatch(name)}
    for base in _bases(tensors, apart):
        parts = {part: tensors.get(f"{base}.{part}") for part in "qkv"}
        stacked = [part for part in parts.values() if part is not None]
        if len(stacked) < len(parts):
            lacking = next(part for part, found in parts.items() if found is None)
            raise ModelError(f"the checkpoint lacks {base}.{lacking}")
        joined[base] = torch.cat(stacked)
    return joined


def _bases(names: Iterable[str], apart: re.Pattern[str]) -> list[str]:
    return sorted({found[1] for name in names if (found := apart.fullmatch(name))})
