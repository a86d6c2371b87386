"""ReuseViT: learned reuse of tokens between neighbouring frames, with a learned correction."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import UsageError, unknown
from engine.vision.fused.layers import fits
from engine.vision.fused.reuse_memory import fitting_streams
from engine.vision.fused.reusevit import FusedReuse, fusible
from engine.vision.fused.upload import upload
from engine.vision.model import BUILTIN, Space
from engine.vision.reuse.cache import Cache
from engine.vision.reuse.checkpoint import load_parts
from engine.vision.reuse.cue import check_cues, codec_cues, no_history, pixel_cues, windows
from engine.vision.reuse.hard import Batch, Encoder, Forced, serve
from engine.vision.reuse.macs import frame_macs, slot_references
from engine.vision.reuse.parts import ReuseParts
from engine.vision.reuse.schedule import ORDER, Schedule, Step
from engine.vision.strategies.base import Chunk, Encoded, StreamState
from engine.vision.tower import VisionTower

OPTIONS = ("target", "refresh", "bias")
DEFAULT_TARGET = "0.80"
References = Cache | FusedReuse  # an encoder's own: what its `gather` returns
SHIFT = 2.0  # of the logits, for a scale of e


@dataclass(slots=True)
class _Stream:
    """A stream while a call works on it; frames are numbered from the first waiting one."""

    chunk: Chunk
    pixels: Tensor  # uint8 [P, 3, S, S], waiting
    cues: Tensor | None  # [P, patches] of the waiting frames
    num_frames: int
    since: int | None
    kept: dict[str, Tensor]  # of the cue: maps of the last frames, the last frame's pixels
    first: int = 0  # of its waiting frames among those of all streams
    done: int = 0
    rows: list[int] = field(default_factory=list)  # of the results, frame by frame
    full: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """What all streams of a call share: their waiting frames, and the results row by row."""

    pixels: Tensor
    cues: Tensor | None
    cache: References
    embeddings: list[Tensor] = field(default_factory=list)
    reused: list[Tensor] = field(default_factory=list)
    references: list[int] = field(default_factory=list)  # each frame was compared with


class ReuseViT:
    """Encode groups of frames in the order 4-2-1-3, all streams of a call side by side."""

    name = "reusevit"

    def __init__(
        self,
        tower: VisionTower,
        parts: ReuseParts,
        *,
        schedule: Schedule | None = None,
        bias: float = 0.0,
        forced: Forced | None = None,
    ) -> None:
        self.tower = tower
        self.parts = parts
        self.schedule = schedule or Schedule()
        gates = serve(parts, tower)
        self.encoder: Encoder | FusedReuse
        if fits(tower) and fusible(parts.config) and forced is None:
            free, _ = torch.cuda.mem_get_info(tower.device)
            streams = fitting_streams(tower.config, free)
            self.encoder = FusedReuse(tower, gates, streams=streams, bias=bias)
        else:
            self.encoder = Encoder(tower, gates, parts.config.chain, bias, forced)

    def with_scale(self, scale: float) -> "ReuseViT":
        """Shift every logit of reuse: below 1 less is reused and drift falls, above 1 it rises."""
        shift = SHIFT * math.log(scale) if scale > 0 else -math.inf
        looser = copy.copy(self)
        looser.encoder = self.encoder.shifted(shift)
        return looser

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode whatever groups the chunks complete; the rest waits in their states."""
        room = self.encoder.room or max(len(chunks), 1)
        turns = range(0, len(chunks), room)
        return [each for at in turns for each in self._encode(chunks[at : at + room])]

    def _encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        streams = [self._receive(chunk) for chunk in chunks]
        saved = [chunk.state.tensors if chunk.state else None for chunk in chunks]
        begun = [tensors if tensors and "mixed" in tensors else None for tensors in saved]
        call = self._join(streams, self.encoder.gather(begun))
        while steps := self._plan(streams):
            self._run(streams, steps, call)
        return self._hand_out(streams, call)

    def _join(self, streams: list[_Stream], cache: References) -> _Call:
        """Lay the waiting frames of all streams one after the other, to be picked by number."""
        first = 0
        for stream in streams:
            stream.first = first
            first += len(stream.pixels)
        empty = torch.empty(0, *self._shape, dtype=torch.uint8, device=self.tower.device)
        cues = [stream.cues for stream in streams if stream.cues is not None]
        pixels = torch.cat([stream.pixels for stream in streams]) if streams else empty
        return _Call(pixels, torch.cat(cues) if cues else None, cache)

    @property
    def _shape(self) -> tuple[int, int, int]:
        size = self.tower.config.image_size
        return 3, size, size

    def _plan(self, streams: list[_Stream]) -> list[tuple[int, Step]]:
        """Each stream's next step, the larger groups first."""
        steps = []
        for at, stream in enumerate(streams):
            waiting, last = len(stream.pixels) - stream.done, stream.chunk.last
            if step := self.schedule.step(stream.since, waiting, last=last):
                steps.append((at, step))
        return sorted(steps, key=lambda each: -each[1].size)

    def _run(self, streams: list[_Stream], steps: list[tuple[int, Step]], call: _Call) -> None:
        """Encode one step of each stream, and note which rows its frames became."""
        sizes = [step.size for _, step in steps]
        counts = tuple(sum(size > slot for size in sizes) for slot in range(sizes[0]))
        frames = [
            (streams[at], ORDER[step.size][slot])
            for slot, count in enumerate(counts)
            for at, step in steps[:count]
        ]
        numbers = torch.tensor([stream.first + stream.done + n for stream, n in frames])
        picked = upload(numbers, self.tower.device)
        full = tuple(step.full for _, step in steps)
        batch = Batch(
            pixels=call.pixels.index_select(0, picked),
            cues=None if call.cues is None else call.cues.index_select(0, picked),
            counts=counts,
            full=full,
            places=tuple(at for at, _ in steps),
        )
        step = self.encoder.encode(batch, call.cache)  # type: ignore[arg-type]
        row = len(call.references)
        call.embeddings.append(step.embeddings)
        call.reused.append(step.reused)
        call.references += slot_references(counts, full)
        for at, planned in steps:
            stream = streams[at]
            stream.rows += [0] * planned.size
            stream.full += [planned.full] * planned.size
            stream.since = 0 if planned.full else (stream.since or 0) + planned.size
        for at, (stream, number) in enumerate(frames):
            stream.rows[stream.done + number] = row + at
        for at, planned in steps:
            streams[at].done += planned.size

    def _receive(self, chunk: Chunk) -> _Stream:
        """Join the chunk's frames, with their cues, to those that wait."""
        state, frames = chunk.state, len(chunk.pixels)
        if chunk.pixels.shape[1:] != self._shape or chunk.pixels.dtype != torch.uint8:
            raise UsageError(
                f"frames must be uint8 [F, {', '.join(map(str, self._shape))}], got "
                f"{chunk.pixels.dtype} {list(chunk.pixels.shape)}"
            )
        check_cues(self.parts.config.cue, chunk.cues, frames, self.tower.config.side)
        device = self.tower.device
        pixels = chunk.pixels.to(device, non_blocking=True)
        kept = {name: t.to(device) for name, t in state.tensors.items()} if state else {}
        cues = self._cues(pixels, chunk.cues, kept)
        if state:
            pixels = torch.cat([state.pending.to(pixels.device), pixels])
            if cues is not None and state.pending_cues is not None:
                cues = torch.cat([state.pending_cues.flatten(1).to(cues.device), cues])
        return _Stream(
            chunk=chunk,
            pixels=pixels,
            cues=cues,
            num_frames=(state.num_frames if state else 0) + frames,
            since=state.scalars["since"] if state else None,
            kept=kept,
        )

    def _cues(self, pixels: Tensor, given: Tensor | None, kept: dict[str, Tensor]) -> Tensor | None:
        """Numbers `[F, patches]` of new frames; `kept` then holds what the next ones need."""
        config, trained = self.tower.config, self.parts.config.cue
        if trained == "none":
            return None
        history = kept.get("history", no_history(config.side, pixels.device))
        if not len(pixels):
            return pixels.new_empty(0, config.side**2, dtype=torch.float32)
        if trained == "codec":
            assert given is not None
            maps = codec_cues(given.to(pixels.device))
        else:
            maps = pixel_cues(pixels, kept.get("previous", pixels[0]), config.patch)
            kept["previous"] = pixels[-1].clone()
        kept["history"] = torch.cat([history, maps])[-len(history) :]
        return self.parts.cue(windows(history, maps))

    def _hand_out(self, streams: list[_Stream], call: _Call) -> list[Encoded]:
        """Sort the steps' rows by stream and frame."""
        config, device = self.tower.config, self.tower.device
        counts = [stream.done for stream in streams]
        order = upload(torch.tensor([row for each in streams for row in each.rows]).long(), device)
        full = upload(torch.tensor([one for each in streams for one in each.full]).bool(), device)
        if not call.references:
            call.embeddings.append(self.tower.position.new_empty(0, config.dimension))
            call.reused.append(torch.empty(0, config.layers - 1, dtype=torch.long, device=device))
        embeddings, reused = torch.cat(call.embeddings)[order], torch.cat(call.reused)
        macs = frame_macs(config, self.parts.config, reused, call.references)[order]
        computed = torch.cat([torch.zeros_like(reused[:, :1]), reused], 1)[order]
        parts = (embeddings, (config.tokens - computed).int(), macs, full)
        shares = zip(streams, *(part.split(counts) for part in parts), strict=True)
        return [
            Encoded(
                rows, tokens, cost, whole,
                None if stream.chunk.last else self._state(stream, call.cache, at),
            )
            for at, (stream, rows, tokens, cost, whole) in enumerate(shares)
        ]  # fmt: skip

    def _state(self, stream: _Stream, cache: References, at: int) -> StreamState:
        side = self.tower.config.side
        cues = None if stream.cues is None else stream.cues[stream.done :].clone()
        names = ("previous", "history")
        tensors = {name: stream.kept[name] for name in names if name in stream.kept}
        if stream.since is not None:
            tensors |= cache.saved(at)
        return StreamState(
            num_frames=stream.num_frames,
            pending=stream.pixels[stream.done :].clone(),
            pending_cues=None if cues is None else cues.unflatten(1, (1, side, side)),
            tensors=tensors,
            scalars={"since": stream.since},
        )


def build_reusevit(
    tower: VisionTower, space: Space | None, parts: Path | None, options: Mapping[str, Any]
) -> ReuseViT:
    """Load reuse parts trained for this backbone, the shipped ones if none are named.

    Options: `target` (which of the shipped ones), `refresh` (frames between full ones) and `bias`
    (added to every logit of reuse).
    """
    for name in options:
        if name not in OPTIONS:
            raise UsageError(unknown("option of reusevit", name, OPTIONS))
    path = parts or shipped_parts(space, options.get("target"))
    loaded = load_parts(path, tower.config, weight_hash=space.weight_hash if space else "")
    refresh = int(options.get("refresh", loaded.card.refresh))
    bias = float(options.get("bias", 0.0))
    return ReuseViT(tower, loaded.parts, schedule=Schedule(refresh), bias=bias)


def shipped_parts(space: Space | None, target: Any = None) -> Path:
    """Where the parts lie that ship with the built-in model; other models have none."""
    if space is None or space.model != "builtin":
        raise UsageError(
            "reusevit needs parts trained for this model: name a file, or make one with "
            "`dejavu-engine train reuse`"
        )
    wanted, found = DEFAULT_TARGET if target is None else str(target), shipped_targets()
    if wanted not in found:
        raise UsageError(unknown("target", wanted, found))
    return BUILTIN / f"reusevit-{wanted}.safetensors"


def shipped_targets() -> tuple[str, ...]:
    """The targets of the parts that ship with the built-in model, least first."""
    files = BUILTIN.glob("reusevit-*.safetensors")
    return tuple(sorted(path.stem.removeprefix("reusevit-") for path in files))
