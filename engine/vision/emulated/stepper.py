"""One decision after each layer's attention: a token is computed, or stays what it last was."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.vision.emulated.macs import step_macs
from engine.vision.emulated.rules import ChangeRule
from engine.vision.streaming.references import ReferenceStepper
from engine.vision.streaming.stepper import Batch, Stepped


@dataclass(slots=True)
class Emulated(ReferenceStepper):
    """Steps in plain PyTorch; rows that are computed are gathered, those reused are not touched.

    A reused token keeps its P as well, so it is always compared with what it was when it was last
    computed, however long ago. The class token is always computed.
    """

    rule: ChangeRule

    def with_scale(self, scale: float) -> "Emulated":
        """Reuse more (above 1) or less."""
        return replace(self, rule=self.rule.with_scale(scale))

    def step(self, batch: Batch) -> Stepped:
        """Encode one frame of each stream."""
        tower, config = self.tower, self.tower.config
        places = torch.from_numpy(batch.places).to(tower.device)
        full = torch.from_numpy(batch.full).to(tower.device)
        h = tower.embed(tower.normalise(batch.pixels))
        qkv = tower.layer(0).project(h)
        computed = [torch.full_like(places, config.tokens)]
        for index in range(config.layers - 1):
            h, qkv, chosen = self._advance(index, h, qkv, places, full)
            computed.append(chosen.sum(1))
        last = tower.layer(config.layers - 1)
        mixed = last.attend(qkv)
        if config.by_class:
            h, mixed = h[:, 0], mixed[:, 0]
        return Stepped(tower.finish(last.finish(h, mixed)), torch.stack(computed, 1))

    def _advance(
        self, index: int, h: Tensor, qkv: Tensor, places: Tensor, full: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next layer's h, queries, keys and values, of mixed age; and which are new."""
        layer, following = self.tower.layer(index), self.tower.layer(index + 1)
        mixed, states = self._table.mixed[index, places], self._table.states[index, places]
        now = layer.attend(qkv)
        chosen = self._chosen(now, mixed) | full[:, None]
        rows = chosen.flatten().nonzero().squeeze(1)
        own = now.flatten(0, 1)[rows]
        new = layer.finish(h.flatten(0, 1)[rows], own)
        mixed.flatten(0, 1)[rows] = own
        states.flatten(0, 1)[rows] = torch.cat(
            [new, following.project(new, rows % self.tower.config.tokens)], -1
        )
        self._table.mixed[index, places] = mixed
        self._table.states[index, places] = states
        width = self.tower.config.width
        return states[..., :width], states[..., width:].contiguous(), chosen

    def _chosen(self, now: Tensor, before: Tensor) -> Tensor:
        first = int(self.tower.config.class_token)
        chosen = self.rule.computed(now[:, first:], before[:, first:])
        return torch.cat([chosen.new_ones(len(chosen), first), chosen], 1)

    def macs(self, computed: Tensor, full: Tensor) -> Tensor:
        """Attention of all tokens, the rest of those computed, and comparisons, `[F]`."""
        return step_macs(self.tower.config, computed, full)
