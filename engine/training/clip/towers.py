"""The two towers in training: made, loaded, and run from random patches of each frame."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from engine.training.clip.data import make_texts
from engine.training.texts import END, token_id, train_tokenizer
from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.weights import read_tensors, split_towers
from engine.world import make_clip
from engine.world.labels import KINDS

CONTEXT = 96  # positions of the text tower
READ = 8  # the layer after which a probe reads what each patch shows
VOCABULARY, TOKENIZER_CLIPS = 1024, 1500


@dataclass(frozen=True, slots=True)
class Towers:
    """What is trained."""

    vision: VisionTower
    text: TextTower
    scale: nn.Parameter  # logarithm of what cosines are multiplied with
    probe: nn.Linear  # from a patch to the labels of what it shows; not part of the model
    tokenizer: Tokenizer

    def parameters(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return [
            *self.vision.parameters(),
            *self.text.parameters(),
            *self.probe.parameters(),
            self.scale,
        ]


def make_towers(
    start: str | None, device: torch.device, *, layers: int = 12, text_layers: int = 4
) -> Towers:
    """Make new towers and a tokenizer for the world's texts, or load those of `start`."""
    tokenizer = (
        train_tokenizer(_texts(TOKENIZER_CLIPS), VOCABULARY)
        if start is None
        else Tokenizer.from_file(str(Path(start) / "tokenizer.json"))
    )
    shape = VisionConfig(
        layers=layers, width=192, heads=3, mlp=768, patch=16, image_size=224, dimension=256
    )
    words = TextConfig(
        layers=text_layers,
        width=192,
        heads=3,
        mlp=768,
        vocabulary=tokenizer.get_vocab_size(),
        context=CONTEXT,
        dimension=256,
        end_token=token_id(tokenizer, END),
    )
    vision, text = VisionTower(shape), TextTower(words)
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07), device=device))
    if start is None:
        initialise(vision)
        initialise(text)
    else:
        tensors = read_tensors([Path(start) / "model.safetensors"])
        parts = split_towers(tensors)
        for tower, part in zip((vision, text), parts, strict=True):
            tower.load_state_dict({name: tensor.float() for name, tensor in part.items()})
        scale.data.fill_(float(tensors["logit_scale"]))
    probe = nn.Linear(shape.width, sum(KINDS.values()), device=device)
    return Towers(vision.to(device), text.to(device), scale, probe, tokenizer)


def _texts(clips: int) -> list[str]:
    return [text for seed in range(clips) for text in make_texts(seed, make_clip(seed, "train"))[1]]


def initialise(tower: VisionTower | TextTower) -> None:
    """Small normal weights, and smaller ones where a residual branch ends."""
    layers = tower.config.layers
    for name, parameter in tower.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1 and "token" not in name:
            nn.init.ones_(parameter)
        else:
            ends = name.endswith(("out.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if ends else 0.02)
    if isinstance(tower, VisionTower):
        nn.init.normal_(tower.product.weight, std=0.05)


def run_layer(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h)


@dataclass(frozen=True, slots=True)
class EmbeddedFrames:
    """Unit embeddings of frames `[B, E]`, and patches half-way up `[B, n, D]` with their places."""

    embeddings: Tensor
    patches: Tensor
    places: Tensor  # [B, n]


def embed_frames(
    tower: VisionTower, values: Tensor, kept: int, layer: Any = run_layer
) -> EmbeddedFrames:
    """Embed frames from `kept` random patches of each, and the class token."""
    h = tower.embed(values)
    patches = tower.config.tokens - 1
    places = torch.arange(patches, device=h.device).expand(len(h), patches)
    if kept < patches:
        places = torch.rand(len(h), patches, device=h.device).argsort(1)[:, :kept]
        chosen = h.gather(1, places[:, :, None].expand(-1, -1, h.shape[-1]) + 1)
        h = torch.cat([h[:, :1], chosen], dim=1)
    middle = h
    for index, each in enumerate(tower.layers):
        h = layer(each, h)
        if index == READ:
            middle = h
    embeddings = F.normalize(tower.finish(h[:, 0]).float(), dim=-1)
    return EmbeddedFrames(embeddings, middle[:, 1:], places)


def embed_ids(tower: TextTower, ids: Tensor, layer: Any = run_layer) -> Tensor:
    """Embed texts `[T, n]` to unit rows `[T, E]`, layer by layer."""
    h = tower.token(ids) + tower.position[: ids.shape[1]]
    for each in tower.layers:
        h = layer(each, h)
    ends = (ids == tower.config.end_token).int().argmax(1)
    rows = tower.post(h[torch.arange(len(ids), device=ids.device), ends])
    return F.normalize(tower.head(rows).float(), dim=-1)
