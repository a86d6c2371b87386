"""Rollout-guided pruning of clips, in the spatial half of ViViT's factorised encoder."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.vision.backbone.factorised import FactorisedTower
from engine.vision.rollout.build import quickest
from engine.vision.rollout.fused import FusedRollout
from engine.vision.rollout.select import PatchShares
from engine.vision.rollout.stepper import Kind, RolloutPruning
from engine.vision.streaming.stepper import Batch


@dataclass(frozen=True, slots=True)
class ClipPruning:
    """What is kept of clips' tubelets, as published: no background, resets on a grid."""

    keep: float = 0.215  # share of the patches; 1 is dense
    every: int = 8  # tubelets from reset to reset; 0: none
    reset: Literal["full", "1in2", "1in4"] = "1in2"
    background: float = 0.0


@dataclass(slots=True)
class RolledClips:
    """Classify clips, each a stream of tubelets of which the first is computed whole."""

    tower: FactorisedTower
    pruning: ClipPruning = field(default_factory=ClipPruning)
    _plain: RolloutPruning = field(init=False)
    _steps: RolloutPruning | FusedRollout = field(init=False)

    def __post_init__(self) -> None:
        chosen = PatchShares(self.pruning.keep, 1.0, self.pruning.background)
        every, reset = self.pruning.every, self.pruning.reset
        self._plain = RolloutPruning(self.tower.spatial, chosen, every, reset)
        self._steps = quickest(self._plain)

    @torch.inference_mode()
    def features(self, clips: Tensor) -> Tensor:
        """Features `[B, steps, D]` of clips of bytes `[B, F, 3, S, S]`."""
        config = self.tower.config
        empty = self.tower.spatial.position.new_empty(0, config.steps, config.spatial.width)
        return torch.cat([empty, *(self._part(part) for part in self._fitting(clips))])

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the spatial half of a clip: how much is kept is known."""
        config, plain = self.tower.config, self._plain
        turns = np.arange(config.steps)
        full = np.array([self._whole(at) for at in range(config.steps)])
        kinds = plain.kinds(turns, full)
        computed = torch.full((config.steps, config.spatial.layers), config.spatial.tokens)
        for kind in Kind:
            computed[torch.from_numpy(kinds == kind.value), 1:] = plain.tokens(kind)
        return float(plain.macs(computed, torch.from_numpy(full)).sum())

    def score(self, clips: Tensor) -> Tensor:
        """Scores `[B, C]` of clips, not yet softmaxed."""
        if not len(clips):
            return self.tower.spatial.position.new_empty(0, self.tower.config.classes)
        return self.tower.tell(self.features(clips))

    def _fitting(self, clips: Tensor) -> Iterator[Tensor]:
        """So many clips at once as there is room for."""
        if len(clips):
            yield from clips.split(self._steps.room or len(clips))

    def _part(self, clips: Tensor) -> Tensor:
        steps, places = self._steps, np.arange(len(clips))
        steps.begin(len(clips))
        tubelets = self.tower.tubelets(clips.to(self.tower.spatial.device, non_blocking=True))
        features = []
        for at in range(tubelets.shape[1]):
            full = np.full(len(clips), self._whole(at))
            stepped = steps.step(Batch(np.zeros_like(places), places, full, tubelets[:, at]))
            features.append(stepped.embeddings)
        return torch.stack(features, 1)

    def _whole(self, at: int) -> bool:
        """Whether all of a tubelet is computed; the others keep equally many of every clip."""
        every = self.pruning.every
        return at == 0 or (self.pruning.reset == "full" and every > 0 and at % every == 0)
