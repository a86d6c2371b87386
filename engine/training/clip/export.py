"""Write both towers as an ordinary CLIP in Hugging Face's format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from engine.training.texts import END, START, token_id
from engine.vision.backbone.folder import write_folder, write_json
from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower

_PARTS = {
    "norm1": "layer_norm1",
    "out": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}


def save_clip(
    folder: Path, tower: VisionTower, text: TextTower, tokenizer: Tokenizer, logit_scale: float
) -> None:
    """Write the model's files, weights in float16; `logit_scale` is the logarithm, as CLIP's is."""
    tensors = dict(_vision_tensors(tower)) | dict(_text_tensors(text))
    tensors["logit_scale"] = torch.tensor(logit_scale)
    config = _config(tower.config, text.config, token_id(tokenizer, START))
    write_folder(folder, config, _preprocessor(tower.config), tensors)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": text.config.context,
            "bos_token": START,
            "eos_token": END,
            "pad_token": END,
            "unk_token": END,
            "clean_up_tokenization_spaces": False,
        },
    )


def _layer_tensors(prefix: str, layer: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in layer.state_dict().items():
        part, kind = name.rsplit(".", 1)
        if part == "qkv":
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{prefix}.self_attn.{letter}_proj.{kind}", third
        else:
            yield f"{prefix}.{_PARTS[part]}.{kind}", tensor


def _vision_tensors(tower: VisionTower) -> Iterator[tuple[str, Tensor]]:
    base, patch = "vision_model", tower.config.patch
    kernel = tower.product.weight.view(-1, 3, patch, patch)
    yield f"{base}.embeddings.patch_embedding.weight", kernel
    yield f"{base}.embeddings.position_embedding.weight", tower.position
    yield f"{base}.embeddings.class_embedding", tower.class_token
    # the misspelling is the format's
    for name, norm in (("pre_layrnorm", tower.pre), ("post_layernorm", tower.post)):
        for kind, tensor in norm.state_dict().items():
            yield f"{base}.{name}.{kind}", tensor
    for index, layer in enumerate(tower.layers):
        yield from _layer_tensors(f"{base}.encoder.layers.{index}", layer)
    yield "visual_projection.weight", tower.head.state_dict()["weight"]


def _text_tensors(text: TextTower) -> Iterator[tuple[str, Tensor]]:
    base = "text_model"
    yield f"{base}.embeddings.token_embedding.weight", text.token.weight
    yield f"{base}.embeddings.position_embedding.weight", text.position
    for kind, tensor in text.post.state_dict().items():
        yield f"{base}.final_layer_norm.{kind}", tensor
    for index, layer in enumerate(text.layers):
        yield from _layer_tensors(f"{base}.encoder.layers.{index}", layer)
    yield "text_projection.weight", text.head.weight


def _config(vision: VisionConfig, text: TextConfig, start: int) -> dict[str, Any]:
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "dtype": "float16",
        "projection_dim": vision.dimension,
        "logit_scale_init_value": 2.6592,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": vision.mlp,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch,
            "hidden_act": vision.activation,
            "layer_norm_eps": vision.eps,
            "projection_dim": vision.dimension,
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": text.width,
            "intermediate_size": text.mlp,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.context,
            "vocab_size": text.vocabulary,
            "hidden_act": text.activation,
            "layer_norm_eps": text.eps,
            "projection_dim": text.dimension,
            "bos_token_id": start,
            "eos_token_id": text.end_token,
            "pad_token_id": text.end_token,
        },
    }


def _preprocessor(vision: VisionConfig) -> dict[str, Any]:
    size = vision.image_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(vision.mean),
        "image_std": list(vision.std),
        "do_convert_rgb": True,
    }
