"""The forward for serving: decisions are final, and only computed tokens are multiplied."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.cache import Cache
from engine.vision.reusevit.gating import Chain
from engine.vision.reusevit.importance import attend
from engine.vision.reusevit.parts import ReuseParts
from kernels.restore import restore
from kernels.select import Selection, select

Forced = Callable[[int, int], Tensor]  # gate and number of frames to bool [T, patches]


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of several streams: a full frame or a group of each, the larger groups first.

    Frames lie slot by slot: slot 0 of every stream, then slot 1 of those that have one, and so on.
    """

    pixels: Tensor  # uint8 [T, 3, S, S]
    cues: Tensor | None  # [T, patches]
    counts: tuple[int, ...]  # streams with a slot 0, 1, 2, 3
    full: tuple[bool, ...]  # [B], whether a stream's slot 0 is a full frame
    places: tuple[int, ...]  # [B], the streams' places in the cache


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch became, frames as they lay in it."""

    embeddings: Tensor  # [T, E]
    reused: Tensor  # int64 [T, L - 1], tokens reused at each gate


@dataclass(frozen=True, slots=True)
class ServedGate:
    """A gate's weights as the kernels take them."""

    layers: list[tuple[Tensor, Tensor]]  # of the decision
    down: Tensor  # [4C, D]
    up: Tensor  # [4, C, D]


def serve(parts: ReuseParts, tower: VisionTower) -> list[ServedGate]:
    """Fold and cast every gate once, for the tower's device and precision."""
    parts = parts.to(tower.device).eval()
    gates = [parts.gate(index) for index in range(len(parts.gates))]
    return [
        ServedGate(
            gate.decision.folded(),
            gate.restoration.down.detach().to(tower.dtype),
            gate.restoration.up.detach().to(tower.dtype),
        )
        for gate in gates
    ]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tower with its gates, ready to encode batches against a cache."""

    tower: VisionTower
    gates: Sequence[ServedGate]
    chain: Chain
    bias: float = 0.0  # added to every logit of reuse
    forced: Forced | None = None
    room: int | None = None  # most streams at once; None: any number

    def shifted(self, shift: float) -> "Encoder":
        """Return the same with that much added to every logit of reuse."""
        return replace(self, bias=self.bias + shift)

    def begin(self, streams: int) -> Cache:
        """Make room for that many streams side by side."""
        return Cache.empty(streams, self.tower.config, self.tower.position)

    def encode(self, batch: Batch, cache: Cache) -> Step:
        """Encode a batch layer by layer; leave slot 0 of each stream as its next reference."""
        config, layer = self.tower.config, self.tower.layer(0)
        streams, frames = len(batch.full), len(batch.pixels)
        width = config.width
        places = torch.tensor(batch.places, device=self.tower.device)
        h = self.tower.embed(self.tower.normalise(batch.pixels))
        states = h.new_empty(streams + frames, config.tokens, 4 * width)
        mixed = h.new_empty(streams + frames, config.tokens, width)
        states[streams:, :, :width] = h
        states[streams:, :, width:] = layer.project(h)
        reused = []
        for index in range(config.layers - 1):
            layer = self.tower.layer(index)
            own, importance = attend(
                layer, states[streams:, :, width:], class_token=config.class_token
            )
            mixed[streams:] = own
            if not all(batch.full):
                torch.index_select(cache.mixed[index], 0, places, out=mixed[:streams])
            chosen = self._select(index, mixed, importance, batch)
            self._advance(index, states, mixed, chosen, batch, places, cache)
            reused.append((chosen.roots != _own(chosen.roots, streams)).sum(1))
        embeddings = self._finish(states[streams:])
        return Step(embeddings, torch.stack(reused, 1))

    def _select(self, index: int, mixed: Tensor, importance: Tensor, batch: Batch) -> Selection:
        if all(batch.full):
            own = _own(mixed[len(batch.full) :, :, 0], len(batch.full))
            return Selection(own, own)
        return select(
            mixed,
            importance,
            batch.cues,
            self.gates[index].layers,
            counts=batch.counts,
            fixed=int(self.tower.config.class_token),
            full=torch.tensor(batch.full, device=mixed.device) if any(batch.full) else None,
            bias=self.bias,
            forced=self.forced(index, len(importance)) if self.forced else None,
        )

    def _advance(
        self,
        index: int,
        states: Tensor,
        mixed: Tensor,
        chosen: Selection,
        batch: Batch,
        places: Tensor,
        cache: Cache,
    ) -> None:
        """Replace the states of layer `index` by those of the next, computed or restored."""
        streams, width = len(batch.full), mixed.shape[-1]
        computed = (chosen.roots == _own(chosen.roots, streams)).flatten()
        rows = computed.nonzero().squeeze(1) + streams * mixed.shape[1]
        self._compute(index, states, mixed, rows)
        if not all(batch.full):
            torch.index_select(cache.states[index], 0, places, out=states[:streams])
        first = chosen.roots[:streams].flatten()
        if self.chain == "root" and not all(batch.full):
            left = states.flatten(0, 1).index_select(0, first).view(streams, -1, 4 * width)
            cache.states[index].index_copy_(0, places, left)
        self._restore(index, states, mixed, chosen, batch.counts)
        left = mixed.flatten(0, 1).index_select(0, first).view(streams, -1, width)
        cache.mixed[index].index_copy_(0, places, left)
        if self.chain != "root" or all(batch.full):
            cache.states[index].index_copy_(0, places, states[streams : 2 * streams])

    def _compute(self, index: int, states: Tensor, mixed: Tensor, rows: Tensor) -> None:
        width = mixed.shape[-1]
        table = states.flatten(0, 1)
        h = table[:, :width].index_select(0, rows)
        h = self.tower.layer(index).finish(h, mixed.flatten(0, 1).index_select(0, rows))
        table[:, :width].index_copy_(0, rows, h)
        table[:, width:].index_copy_(0, rows, self.tower.layer(index + 1).project(h))

    def _restore(
        self,
        index: int,
        states: Tensor,
        mixed: Tensor,
        chosen: Selection,
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
        if config.class_token:
            h, mixed = h[:, 0], mixed[:, 0]
        return self.tower.finish(last.finish(h, mixed))


def _own(roots: Tensor, streams: int) -> Tensor:
    """Row numbers of the frames themselves, int32 `[T, N]`, shaped as `roots`."""
    frames, tokens = roots.shape
    own = torch.arange(frames * tokens, dtype=torch.int32, device=roots.device)
    return own.view(frames, tokens) + streams * tokens
