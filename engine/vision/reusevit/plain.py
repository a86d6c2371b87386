"""The forward for serving: decisions are final, and only computed tokens are multiplied."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from engine.vision.backbone.importance import attend
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.gating import Chain
from engine.vision.reusevit.modules import ReuseModules
from engine.vision.streaming.places import Numbers
from engine.vision.streaming.references import ReferenceStepper
from engine.vision.streaming.stepper import Batch, Stepped
from kernels.restore import restore
from kernels.select import ChosenRoots, select

Forced = Callable[[int, int], Tensor]  # gate and number of frames to bool [T, patches], as they lie


@dataclass(frozen=True, slots=True)
class StepLayout:
    """How the plain forward wants a step's frames: slot by slot, the larger groups first.

    So slot n belongs to the first `counts[n]` of the streams.
    """

    order: Numbers  # [T], of the batch's frames
    counts: tuple[int, ...]  # streams with a slot 0, 1, 2, 3
    full: tuple[bool, ...]  # [B], whether a stream's slot 0 is a full frame
    places: tuple[int, ...]  # [B], the streams' places in the table

    @classmethod
    def of(cls, batch: Batch) -> "StepLayout":
        """Sort the streams of a batch by the size of their groups."""
        first = batch.slots == 0
        places, full = batch.places[first], batch.full[first]
        larger = np.argsort(-np.bincount(batch.places)[places], kind="stable")
        rank = np.zeros(places.max() + 1, np.int64)
        rank[places[larger]] = np.arange(len(larger))
        return cls(
            order=np.lexsort((rank[batch.places], batch.slots)),
            counts=tuple(np.bincount(batch.slots).tolist()),
            full=tuple(full[larger].tolist()),
            places=tuple(places[larger].tolist()),
        )


@dataclass(frozen=True, slots=True)
class ServedGate:
    """A gate's weights as the kernels take them."""

    layers: list[tuple[Tensor, Tensor]]  # of the decision
    down: Tensor  # [4C, D]
    up: Tensor  # [4, C, D]


def serve(modules: ReuseModules, tower: VisionTower) -> list[ServedGate]:
    """Fold and cast every gate once, for the tower's device and precision."""
    modules = modules.to(tower.device).eval()
    gates = [modules.gate(index) for index in range(len(modules.gates))]
    return [
        ServedGate(
            gate.decision.folded(),
            gate.restoration.down.detach().to(tower.dtype),
            gate.restoration.up.detach().to(tower.dtype),
        )
        for gate in gates
    ]


@dataclass(slots=True)
class PlainReuse(ReferenceStepper):
    """Steps in plain PyTorch on any device: the definition."""

    gates: Sequence[ServedGate]
    chain: Chain
    bias: float = 0.0  # added to every logit of reuse
    forced: Forced | None = None

    def shifted(self, shift: float) -> "PlainReuse":
        """Return the same with that much added to every logit of reuse."""
        return replace(self, bias=self.bias + shift)

    def step(self, batch: Batch) -> Stepped:
        """Encode a batch layer by layer; leave slot 0 of each stream as its next reference."""
        layout = StepLayout.of(batch)
        order = torch.from_numpy(layout.order).to(self.tower.device)
        cues = None if batch.cues is None else batch.cues.index_select(0, order)
        stepped = self._encode(batch.pixels.index_select(0, order), cues, layout, order)
        back = order.argsort()
        return Stepped(stepped.embeddings[back], stepped.computed[back])

    def _encode(
        self, pixels: Tensor, cues: Tensor | None, layout: StepLayout, order: Tensor
    ) -> Stepped:
        config, layer = self.tower.config, self.tower.layer(0)
        streams, frames, width = len(layout.full), len(pixels), config.width
        places = torch.tensor(layout.places, device=self.tower.device)
        h = self.tower.embed(self.tower.normalise(pixels))
        states = h.new_empty(streams + frames, config.tokens, 4 * width)
        mixed = h.new_empty(streams + frames, config.tokens, width)
        states[streams:, :, :width] = h
        states[streams:, :, width:] = layer.project(h)
        computed = [order.new_full((frames,), config.tokens)]
        for index in range(config.layers - 1):
            layer = self.tower.layer(index)
            own, importance = attend(
                layer, states[streams:, :, width:], class_token=config.class_token
            )
            mixed[streams:] = own
            if not all(layout.full):
                torch.index_select(self._table.mixed[index], 0, places, out=mixed[:streams])
            chosen = self._select(index, mixed, importance, layout, cues, order)
            self._advance(index, states, mixed, chosen, layout, places)
            computed.append((chosen.roots == _own(chosen.roots, streams)).sum(1))
        embeddings = self._finish(states[streams:])
        return Stepped(embeddings, torch.stack(computed, 1))

    def _select(
        self,
        index: int,
        mixed: Tensor,
        importance: Tensor,
        layout: StepLayout,
        cues: Tensor | None,
        order: Tensor,
    ) -> ChosenRoots:
        if all(layout.full):
            own = _own(mixed[len(layout.full) :, :, 0], len(layout.full))
            return ChosenRoots(own, own)
        return select(
            mixed,
            importance,
            cues,
            self.gates[index].layers,
            counts=layout.counts,
            fixed=int(self.tower.config.class_token),
            full=torch.tensor(layout.full, device=mixed.device) if any(layout.full) else None,
            bias=self.bias,
            forced=self.forced(index, len(order))[order] if self.forced else None,
        )

    def _advance(
        self,
        index: int,
        states: Tensor,
        mixed: Tensor,
        chosen: ChosenRoots,
        layout: StepLayout,
        places: Tensor,
    ) -> None:
        """Replace the states of layer `index` by those of the next, computed or restored."""
        streams, width, table = len(layout.full), mixed.shape[-1], self._table
        computed = (chosen.roots == _own(chosen.roots, streams)).flatten()
        rows = computed.nonzero().squeeze(1) + streams * mixed.shape[1]
        self._compute(index, states, mixed, rows)
        if not all(layout.full):
            torch.index_select(table.states[index], 0, places, out=states[:streams])
        first = chosen.roots[:streams].flatten()
        if self.chain == "root" and not all(layout.full):
            left = states.flatten(0, 1).index_select(0, first).view(streams, -1, 4 * width)
            table.states[index].index_copy_(0, places, left)
        self._restore(index, states, mixed, chosen, layout.counts)
        left = mixed.flatten(0, 1).index_select(0, first).view(streams, -1, width)
        table.mixed[index].index_copy_(0, places, left)
        if self.chain != "root" or all(layout.full):
            table.states[index].index_copy_(0, places, states[streams : 2 * streams])

    def _compute(self, index: int, states: Tensor, mixed: Tensor, rows: Tensor) -> None:
        width = mixed.shape[-1]
        table = states.flatten(0, 1)
        h = table[:, :width].index_select(0, rows)
        h = self.tower.layer(index).finish(h, mixed.flatten(0, 1).index_select(0, rows))
        places = rows % self.tower.config.tokens
        table[:, :width].index_copy_(0, rows, h)
        table[:, width:].index_copy_(0, rows, self.tower.layer(index + 1).project(h, places))

    def _restore(
        self,
        index: int,
        states: Tensor,
        mixed: Tensor,
        chosen: ChosenRoots,
        counts: tuple[int, ...],
    ) -> None:
        """Restore all reused tokens, slot by slot where a later one builds on an earlier one."""
        streams, gate = counts[0], self.gates[index]
        reused = chosen.roots != _own(chosen.roots, streams)
        compound = self.chain == "compound"
        sources = chosen.sources if compound else chosen.roots
        start = 0
        for count in counts if compound else (sum(counts),):
            part = reused[start : start + count].flatten().nonzero().squeeze(1)
            rows = part + (streams + start) * mixed.shape[1]
            restore(states, mixed, chosen.roots, sources, rows, gate.down, gate.up)
            start += count

    def _finish(self, states: Tensor) -> Tensor:
        config, last = self.tower.config, self.tower.layer(self.tower.config.layers - 1)
        h = states[..., : config.width]
        mixed = last.attend(states[..., config.width :])
        if config.by_class:
            h, mixed = h[:, 0], mixed[:, 0]
        return self.tower.finish(last.finish(h, mixed))


def _own(roots: Tensor, streams: int) -> Tensor:
    """Row numbers of the frames themselves, int32 `[T, N]`, shaped as `roots`."""
    frames, tokens = roots.shape
    own = torch.arange(frames * tokens, dtype=torch.int32, device=roots.device)
    return own.view(frames, tokens) + streams * tokens
