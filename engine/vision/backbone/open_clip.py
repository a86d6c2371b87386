"""open_clip's checkpoints onto our towers: plain ViTs, PE-Core, MobileCLIP-B and SigLIP of timm."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.rotary import Rotary
from engine.vision.backbone.text import TextConfig, Words
from engine.vision.backbone.tower import CLIP_MEAN, CLIP_STD, Activation, Probe, VisionConfig

Tensors = dict[str, Tensor]
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_FITTING = "allowed: plain ViTs, PE-Core, MobileCLIP-B and SigLIP with open_clip's own text tower"
_PE = re.compile(r"vit_pe_core_(\w+)_patch(\d+)_(\d+)")
_SIGLIP = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)")
_MCI = "vit_base_mci_224"
_WRITTEN: dict[str, Words] = {"canonicalize": "bare", "lower": "lower", "whitespace": "spaced"}
_BACKBONE = "trunk.patch_embed.backbone."
_BATCH_EPS = 1e-5
_IGNORED = re.compile(r"logit_scale|logit_bias|(text\.)?attn_mask|.*\.num_batches_tracked")
_WIDE = {"gigantic": 16, "so400m": 16, "giantopt": 16}  # heads; of the others each is 64 wide
# what may stand in a configuration: a value that changes nothing, or None where any is read
_VISION: dict[str, Any] = {
    **dict.fromkeys(("image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio")),
    **dict.fromkeys(("norm_kwargs", "act_kwargs", "no_ln_pre", "pos_embed_type", "patch_dropout")),
    **dict.fromkeys(("output_tokens", "final_ln_after_pool", "timm_drop", "timm_drop_path")),
    **dict.fromkeys(("timm_model_name", "timm_pool", "timm_proj", "timm_model_pretrained")),
    "pool_type": "tok",
}
_TEXT: dict[str, Any] = {
    **dict.fromkeys(("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio")),
    **dict.fromkeys(("hf_tokenizer_name", "tokenizer_kwargs", "no_causal_mask", "proj_bias")),
    **dict.fromkeys(("pool_type", "norm_kwargs", "act_kwargs", "output_tokens")),
    **dict.fromkeys(("eos_id", "pad_id", "final_ln_after_pool")),
    "proj_type": "linear",
}
_BLOCK = {
    "attn.in_proj_": "qkv.",
    "attn.qkv.": "qkv.",
    "attn.out_proj.": "out.",
    "attn.proj.": "out.",
    "ln_1.": "norm1.",
    "norm1.": "norm1.",
    "ln_2.": "norm2.",
    "norm2.": "norm2.",
    "mlp.c_fc.": "up.",
    "mlp.fc1.": "up.",
    "mlp.c_proj.": "down.",
    "mlp.fc2.": "down.",
}
_VISUAL = {
    "class_embedding": "class_token",
    "positional_embedding": "position",
    "conv1.weight": "patch.weight",
    "proj": "head.weight",
    "ln_pre.": "pre.",
    "ln_post.": "post.",
    "trunk.cls_token": "class_token",
    "trunk.pos_embed": "position",
    "trunk.patch_embed.proj.": "patch.",
    "trunk.norm_pre.": "pre.",
    "trunk.norm.": "post.",
    "trunk.head.": "head.",
    "trunk.attn_pool.latent": "pool.probe",
    "trunk.attn_pool.q.": "pool.q.",
    "trunk.attn_pool.kv.": "pool.kv.",
    "trunk.attn_pool.proj.": "pool.out.",
    "trunk.attn_pool.norm.": "pool.norm.",
    "trunk.attn_pool.mlp.fc1.": "pool.up.",
    "trunk.attn_pool.mlp.fc2.": "pool.down.",
}
_WORDS = {
    "token_embedding.weight": "token.weight",
    "positional_embedding": "position",
    "ln_final.": "post.",
    "text_projection.": "head.",
    "text_projection": "head.weight",
}


@dataclass(frozen=True, slots=True)
class OpenClip:
    """What a folder's configuration says."""

    folder: Path
    model: Mapping[str, Any]
    preprocess: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "OpenClip":
        """Read it; parts that no tower of ours has are refused."""
        told = read_json(folder / CONFIG)
        model, preprocess = told.get("model_cfg"), told.get("preprocess_cfg", {})
        if not isinstance(model, Mapping) or not isinstance(preprocess, Mapping):
            raise ModelError(f"{folder / CONFIG} has no model_cfg")
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model):
            raise ModelError(f"{folder / CONFIG}: a model_cfg without its two towers")
        found = cls(folder, model, preprocess)
        found._check("vision_cfg", _VISION)
        found._check("text_cfg", _TEXT)
        return found

    def _check(self, part: str, known: Mapping[str, Any]) -> None:
        for name, value in self.model[part].items():
            fine = name in known and known[name] in (None, value)
            if value not in (None, False, 0) and not fine:
                raise ModelError(f"{self.folder}: {part} with {name} {value!r}; {_FITTING}")

    def preprocessing(self) -> Preprocessing:
        """What is done with a picture; open_clip's own defaults where nothing is said."""
        told, size = self.preprocess, self.model["vision_cfg"].get("image_size", 224)
        size = told.get("size", size)
        if isinstance(size, list | tuple):
            if len(set(size)) != 1:
                raise ModelError(f"{self.folder}: pictures of {size}; allowed: a square")
            size = size[0]
        modes = {"shortest": "crop", "squash": "squash"}
        mode, resample = told.get("resize_mode", "shortest"), told.get("interpolation", "bicubic")
        if mode not in modes or resample not in ("bilinear", "bicubic"):
            raise ModelError(
                f"{self.folder}: resize_mode {mode}, interpolation {resample}; allowed: shortest or"
                " squash, bilinear or bicubic"
            )
        shared: dict[str, Any] = {"mode": modes[mode], "resample": resample}
        shared["rounded"] = shared["mode"] == "crop"
        for name, default in (("mean", CLIP_MEAN), ("std", CLIP_STD)):
            given = told.get(name, default)
            each = given if isinstance(given, list | tuple) else [given] * 3
            shared[name] = tuple(float(value) for value in each)
        return Preprocessing(size=int(size), resize=int(size), **shared)

    def vision(self, tensors: Tensors, pictures: Preprocessing) -> VisionConfig:
        """Shape of the vision tower: by its name and by its tensors, which carry our names."""
        told, name = self.model["vision_cfg"], self.model["vision_cfg"].get("timm_model_name")
        width, stem = tensors["position"].shape[1], _stem(tensors)
        shared: dict[str, Any] = {
            "layers": _depth(tensors),
            "width": width,
            "mlp": tensors["layers.0.up.weight"].shape[0],
            "image_size": pictures.size,
            "mean": pictures.mean,
            "std": pictures.std,
            "dimension": self.model["embed_dim"],
            "class_token": "class_token" in tensors,
            "pre_norm": "pre.weight" in tensors,
            "patch_bias": "patch.bias" in tensors,
            "projection": "head.weight" in tensors,
            "head_bias": "head.bias" in tensors,
            "stem": stem,
        }
        if not shared["projection"] and width != self.model["embed_dim"]:
            raise ModelError(f"{self.folder}: no product from {width} to embed_dim; {_FITTING}")
        edges = prod(edge for edge, _ in stem)
        shared["patch"] = edges if stem else round((tensors["patch.weight"].shape[1] / 3) ** 0.5)
        if name is None:
            heads, eps = width // told.get("head_width", 64), _eps(told)
            return VisionConfig(
                heads=heads, eps=eps, activation=_activation(told, self.model), **shared
            )
        if found := _PE.fullmatch(name):
            size, patch, edge = found[1], int(found[2]), int(found[3])
            rotary = Rotary(0.0 if size == "gigantic" else 1.0, edge // patch)
            probe = Probe(8, tensors["pool.up.weight"].shape[0])
            shared |= {"rotary": rotary, "probe": probe, "eps": 1e-5}
        elif found := _SIGLIP.fullmatch(name):
            shared |= {"eps": 1e-6}
        elif name == _MCI:
            return VisionConfig(heads=width // 64, eps=1e-6, activation="gelu", **shared)
        else:
            raise ModelError(f"{self.folder}: a {name} does not fit our tower; {_FITTING}")
        tanh: Activation = "gelu_tanh" if found[1] == "giantopt" else "gelu"
        return VisionConfig(heads=_WIDE.get(found[1], width // 64), activation=tanh, **shared)

    def text(self, tensors: Tensors) -> TextConfig:
        """Shape of the text tower."""
        told = self.model["text_cfg"]
        pooling, causal = told.get("pool_type", "argmax"), not told.get("no_causal_mask", False)
        if (pooling, causal) not in {("argmax", True), ("last", False)}:
            mask = "a" if causal else "no"
            raise ModelError(
                f"{self.folder}: texts pooled by {pooling} with {mask} causal mask; {_FITTING}"
            )
        named = told.get("hf_tokenizer_name")
        clean = (told.get("tokenizer_kwargs") or {}).get(
            "clean", "whitespace" if named else "lower"
        )
        if clean not in _WRITTEN:
            raise ModelError(f"{self.folder}: texts cleaned by {clean!r}; {_FITTING}")
        vocabulary, width = tensors["token.weight"].shape
        return TextConfig(
            layers=_depth(tensors),
            width=width,
            heads=told.get("heads", 8),
            mlp=tensors["layers.0.up.weight"].shape[0],
            vocabulary=vocabulary,
            context=tensors["position"].shape[0],
            dimension=tensors["head.weight"].shape[0],
            activation=_activation(told, self.model),
            eps=_eps(told),
            causal=causal,
            pooling="end" if causal else "last",
            end_token=vocabulary - 1,  # the highest is the end, which is what argmax finds
            head_bias="head.bias" in tensors,
            words=_WRITTEN[clean],
        )


def split_open_clip(tensors: Mapping[str, Tensor]) -> tuple[Tensors, Tensors]:
    """Rename a checkpoint's tensors to the vision and the text tower's names; all must be known."""
    vision: Tensors = {}
    text: Tensors = {}
    for name, tensor in tensors.items():
        if _IGNORED.fullmatch(name):
            continue
        if name in ("visual.proj", "text_projection", "text.text_projection"):
            tensor = tensor.T.contiguous()  # stored to multiply from the right
        if name.startswith("visual."):
            vision[_rename(name.removeprefix("visual."), _VISUAL)] = tensor
        else:
            text[_rename(name.removeprefix("text."), _WORDS)] = tensor
    return _shaped(vision), text


def _rename(name: str, outer: Mapping[str, str]) -> str:
    """Return our name; a convolution within a patch keeps its own until it is folded."""
    if name.startswith(_BACKBONE):
        return name
    block = re.fullmatch(r"(?:trunk\.blocks|transformer\.resblocks)\.(\d+)\.(.+)", name)
    rest = block[2] if block else name
    for theirs, ours in (_BLOCK if block else outer).items():
        if rest == theirs or (theirs[-1] in "._" and rest.startswith(theirs)):
            found = ours + rest[len(theirs) :]
            return f"layers.{block[1]}.{found}" if block else found
    raise ModelError(f"unknown tensor {name!r} in the checkpoint; {_FITTING}")


def _shaped(tensors: Tensors) -> Tensors:
    """Give tensors the shapes that our tower has: products, and one position for each token."""
    made = {name: each for name, each in tensors.items() if not name.startswith(_BACKBONE)}
    made |= _folded(tensors)
    if "patch.weight" in made:
        made["patch.weight"] = made["patch.weight"].flatten(1)
    if "class_token" in made:
        made["class_token"] = made["class_token"].flatten()
    if made["position"].ndim == 3:
        made["position"] = made["position"][0]
    if "class_token" in made and f"{_BACKBONE}0.conv.weight" in tensors:
        none = made["position"].new_zeros(1, made["position"].shape[1])
        made["position"] = torch.cat([none, made["position"]])  # MobileCLIP's class token has none
    return made


def _folded(tensors: Tensors) -> Tensors:
    """Convolutions within a patch as products, their batch normalisation in the weights."""
    made: Tensors = {}
    for number in range(len(tensors)):
        base = f"{_BACKBONE}{number}."
        if (kernel := tensors.get(f"{base}conv.weight")) is None:
            break
        bias = tensors.get(f"{base}conv.bias", kernel.new_zeros(len(kernel)))
        if (spread := tensors.get(f"{base}bn.running_var")) is not None:
            factor = tensors[f"{base}bn.weight"] / (spread + _BATCH_EPS).sqrt()
            shift = (bias - tensors[f"{base}bn.running_mean"]) * factor
            kernel, bias = kernel * factor[:, None, None, None], tensors[f"{base}bn.bias"] + shift
        made[f"patch.products.{number}.weight"] = kernel.flatten(1)
        made[f"patch.products.{number}.bias"] = bias
    return made


def _stem(tensors: Tensors) -> tuple[tuple[int, int], ...]:
    """Edges and channels of the convolutions within a patch, of tensors by our names."""
    found, channels = [], 3
    for number in range(len(tensors)):
        if (weight := tensors.get(f"patch.products.{number}.weight")) is None:
            break
        found.append((round((weight.shape[1] / channels) ** 0.5), len(weight)))
        channels = len(weight)
    return tuple(found)


def _depth(tensors: Mapping[str, Tensor]) -> int:
    return 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))


def _activation(told: Mapping[str, Any], model: Mapping[str, Any]) -> Activation:
    if model.get("quick_gelu"):
        return "quick_gelu"
    return "gelu_tanh" if (told.get("act_kwargs") or {}).get("approximate") == "tanh" else "gelu"


def _eps(told: Mapping[str, Any]) -> float:
    return float((told.get("norm_kwargs") or {}).get("eps", 1e-5))
