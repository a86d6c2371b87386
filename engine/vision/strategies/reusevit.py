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
DEFAULT_TARGET = "0.68"
References = Cache | FusedReuse  # an encoder's own: what its `gather` returns
SHIFT = 2.0  # of the logits, for a scale of e


@dataclass(slots=True)
class _Stream:
    """A stream while a call works on it."""

    chunk: Chunk
    pixels: Tensor  # uint8 [P, 3, S, S], waiting
    cues: Tensor | None  # [P, patches] of the waiting frames
    num_frames: int
    since: int | None
    kept: dict[str, Tensor]  # of the cue: maps of the last frames, the last frame's pixels
    done: list[tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)


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
        cache = self.encoder.gather(begun)
        while steps := self._plan(streams):
            self._run(streams, steps, cache)
        return [self._encoded(stream, cache, at) for at, stream in enumerate(streams)]

    def _plan(self, streams: list[_Stream]) -> list[tuple[int, Step]]:
        """Each stream's next step, the larger groups first."""
        steps = []
        for at, stream in enumerate(streams):
            waiting, last = len(stream.pixels), stream.chunk.last
            if step := self.schedule.step(stream.since, waiting, last=last):
                steps.append((at, step))
        return sorted(steps, key=lambda each: -each[1].size)

    def _run(
        self, streams: list[_Stream], steps: list[tuple[int, Step]], cache: References
    ) -> None:
        """Encode one step of each stream and hand the frames out in their own order."""
        sizes = [step.size for _, step in steps]
        counts = tuple(sum(size > slot for size in sizes) for slot in range(sizes[0]))
        frames = [
            (at, ORDER[step.size][slot])
            for slot, count in enumerate(counts)
            for at, step in steps[:count]
        ]
        pixels = torch.stack([streams[at].pixels[frame] for at, frame in frames])
        cues = [each[frame] for at, frame in frames if (each := streams[at].cues) is not None]
        full = tuple(step.full for _, step in steps)
        batch = Batch(
            pixels=pixels,
            cues=torch.stack(cues) if cues else None,
            counts=counts,
            full=full,
            places=tuple(at for at, _ in steps),
        )
        step = self.encoder.encode(batch, cache)  # type: ignore[arg-type]
        references = slot_references(counts, full)
        macs = frame_macs(self.tower.config, self.parts.config, step.reused, references)
        place = {key: at for at, key in enumerate(frames)}
        for at, planned in steps:
            rows = [place[at, frame] for frame in range(planned.size)]
            done = torch.full((planned.size,), planned.full, device=self.tower.device)
            stream = streams[at]
            stream.done.append((step.embeddings[rows], step.reused[rows], macs[rows], done))
            stream.pixels = stream.pixels[planned.size :]
            stream.cues = None if stream.cues is None else stream.cues[planned.size :]
            stream.since = 0 if planned.full else (stream.since or 0) + planned.size

    def _receive(self, chunk: Chunk) -> _Stream:
        """Join the chunk's frames, with their cues, to those that wait."""
        config, state = self.tower.config, chunk.state
        frames, size = len(chunk.pixels), config.image_size
        if chunk.pixels.shape[1:] != (3, size, size) or chunk.pixels.dtype != torch.uint8:
            raise UsageError(
                f"frames must be uint8 [F, 3, {size}, {size}], got {chunk.pixels.dtype} "
                f"{list(chunk.pixels.shape)}"
            )
        check_cues(self.parts.config.cue, chunk.cues, frames, config.side)
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

    def _encoded(self, stream: _Stream, cache: References, at: int) -> Encoded:
        config, device = self.tower.config, self.tower.device
        if not stream.done:
            stream.done.append(
                (
                    self.tower.position.new_empty(0, config.dimension),
                    torch.empty(0, config.layers - 1, dtype=torch.long, device=device),
                    torch.empty(0, dtype=torch.float64, device=device),
                    torch.empty(0, dtype=torch.bool, device=device),
                )
            )
        embeddings, reused, macs, full = (
            torch.cat(each) for each in zip(*stream.done, strict=True)
        )
        computed = torch.cat([torch.zeros_like(reused[:, :1]), reused], 1)
        return Encoded(
            embeddings=embeddings,
            computed=(config.tokens - computed).int(),
            macs=macs,
            full=full,
            state=None if stream.chunk.last else self._state(stream, cache, at),
        )

    def _state(self, stream: _Stream, cache: References, at: int) -> StreamState:
        side = self.tower.config.side
        names = ("previous", "history")
        tensors = {name: stream.kept[name] for name in names if name in stream.kept}
        if stream.since is not None:
            tensors |= cache.saved(at)
        return StreamState(
            num_frames=stream.num_frames,
            pending=stream.pixels,
            pending_cues=None if stream.cues is None else stream.cues.unflatten(1, (1, side, side)),
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
