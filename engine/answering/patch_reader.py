"""Looks at frames again to answer: which choice is right, and which of the frames say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.answering.choose import Chosen
from engine.answering.patch_network import PatchNetwork, PatchNetworkConfig
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.trained import NetworkKind, load_trained, save_trained
from engine.vision.model import Model

KIND = NetworkKind("patches", "patch reader", "looks at patches", "patch-reader", unnamed=True)
_FRAMES = 16  # that the tower is given at once


@dataclass(frozen=True, slots=True)
class PatchReader:
    """A trained network on one model's tokens of pictures and of texts."""

    model: Model
    network: PatchNetwork

    @torch.inference_mode()
    def see(self, pixels: Tensor) -> Tensor:
        """Tokens `[F, N, D]` of frames `[F, 3, S, S]` as the model's preprocessing gives them."""
        tower, depth = self.model.tower, self.network.config.depth
        parts = pixels.split(_FRAMES)
        return torch.cat([tower.look(tower.normalise(part), depth).float() for part in parts])

    @torch.inference_mode()
    def judge(
        self, tokens: Tensor, seconds: NDArray[np.float64], statements: Sequence[str]
    ) -> Chosen:
        """Choose among statements on frames in time order, and give each one's relevance."""
        device, text = self.model.device, self.model.text
        ids = self.model.tokenize(statements).to(device)
        times = torch.from_numpy(seconds - seconds[0]).float().to(device)
        scores, relevance = self.network(
            tokens[None],
            times[None],
            torch.ones(1, len(times), dtype=torch.bool, device=device),
            text.read(ids).float()[None],
            spoken(ids, text.config.end_token)[None],
        )
        said, shown = scores[0].double().cpu(), relevance[0].double().cpu()
        best = int(said.argmax())
        return Chosen(
            choice=best,
            probabilities=tuple(said.softmax(0).tolist()),
            relevance=shown.sigmoid().numpy(),
            strength=float(said[best] + shown.max()),
        )


def spoken(ids: Tensor, end: int) -> Tensor:
    """Which tokens `[..., T]` belong to the text: all up to its first end."""
    ends = (ids == end).int()
    return ends.cumsum(-1) - ends == 0


def save_patch_network(network: PatchNetwork, weight_hash: str, path: Path) -> None:
    """Write a network in half precision, with its shape and the model it belongs to."""
    save_trained(path, network, network.config, KIND, weight_hash, torch.float16)


def load_patch_reader(path: Path, model: Model) -> PatchReader:
    """Read a network; one of another kind, or of another model's patches, is an error."""

    def build(told: Mapping[str, Any]) -> PatchNetwork:
        return PatchNetwork(PatchNetworkConfig(**told), model.tower.config, model.text.config)

    network = load_trained(path, build, KIND, model.space.weight_hash)
    return PatchReader(model, network.to(model.device))


def shipped_patch_reader(model: Model) -> PatchReader | None:
    """Return the patch reader that ships for a model, if one does."""
    path = BUILTIN / "patch_reader.safetensors"
    if model.space.model != "builtin" or not path.exists():
        return None
    return load_patch_reader(path, model)
