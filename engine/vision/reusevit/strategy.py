"""ReuseViT: learned reuse of tokens between neighbouring frames, with a learned correction."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError, unknown
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.layers import fits
from engine.vision.reusevit.cache import Cache
from engine.vision.reusevit.cue import check_cues, codec_cues, no_history, pixel_cues, windows
from engine.vision.reusevit.file import load_parts
from engine.vision.reusevit.forward import Batch, Encoder, Forced, serve
from engine.vision.reusevit.fused import FusedReuse, fusible
from engine.vision.reusevit.macs import frame_macs
from engine.vision.reusevit.memory import fitting_streams
from engine.vision.reusevit.parts import ReuseParts
from engine.vision.streaming.call import Call
from engine.vision.streaming.places import Round, rounds
from engine.vision.streaming.schedule import Schedule, Step, since_full
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

OPTIONS = ("target", "refresh", "bias")
DEFAULT_TARGET = "0.80"
References = Cache | FusedReuse  # an encoder's own: what its `begin` returns
SHIFT = 2.0  # of the logits, for a scale of e


@dataclass(slots=True)
class _Stream:
    """A stream while a call works on it; frames are numbered from the first waiting one."""

    chunk: Chunk
    pixels: Tensor  # uint8 [P, 3, S, S], waiting
    cues: Tensor | None  # [P, patches] of the waiting frames
    num_frames: int
    steps: list[Step]
    since: int | None  # a full frame, after these steps
    kept: dict[str, Tensor]  # of the cue: maps of the last frames, the last frame's pixels
    references: dict[str, Tensor]  # as they came, then as they are left

    @property
    def done(self) -> int:
        """Waiting frames that the steps encode."""
        return sum(step.size for step in self.steps)


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
        streams = [self._receive(chunk) for chunk in chunks]
        call = Call(self.tower, [stream.pixels for stream in streams])
        cues = [stream.cues for stream in streams if stream.cues is not None]
        joined = torch.cat(cues) if cues else None
        places = min(self.encoder.room or len(chunks), sum(bool(each.steps) for each in streams))
        cache = self.encoder.begin(places)
        for part in rounds([stream.steps for stream in streams], places):
            begun = [(at, streams[n].references) for n, at in part.begun()]
            cache.load({at: references for at, references in begun if references})
            self._run(part.larger_first(), joined, call, cache)
            left = [(streams[n], at) for n, at in part.ended() if not streams[n].chunk.last]
            for (stream, _), kept in zip(left, cache.saved([at for _, at in left]), strict=True):
                stream.references = kept
        return self._hand_out(streams, call)

    @property
    def _shape(self) -> tuple[int, int, int]:
        size = self.tower.config.image_size
        return 3, size, size

    def _run(self, part: Round, cues: Tensor | None, call: Call, cache: References) -> None:
        """Encode one step of each stream, and keep what its frames became."""
        frames = part.frames()
        picked = call.rows(part, frames)
        batch = Batch(
            pixels=call.pick(picked),
            cues=None if cues is None else cues.index_select(0, picked),
            counts=tuple(np.bincount(frames.slots).tolist()),
            full=tuple(part.full.tolist()),
            places=tuple(part.places.tolist()),
        )
        step = self.encoder.encode(batch, cache)  # type: ignore[arg-type]
        tokens = self.tower.config.tokens
        call.put(picked, step.embeddings, F.pad(tokens - step.reused, (1, 0), value=tokens))

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
        given = state.tensors if state else {}
        cued, left = ("previous", "history"), ("mixed", "states")
        kept: dict[str, Tensor] = {name: given[name].to(device) for name in cued if name in given}
        cues = self._cues(pixels, chunk.cues, kept)
        if state:
            pixels = torch.cat([state.pending.to(pixels.device), pixels])
            if cues is not None and state.pending_cues is not None:
                cues = torch.cat([state.pending_cues.flatten(1).to(cues.device), cues])
        since = state.scalars["since"] if state else None
        steps = self.schedule.steps(since, len(pixels), last=chunk.last)
        return _Stream(
            chunk=chunk,
            pixels=pixels,
            cues=cues,
            num_frames=(state.num_frames if state else 0) + frames,
            steps=steps,
            since=since_full(since, steps),
            kept=kept,
            references={name: given[name] for name in left if name in given},
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

    def _hand_out(self, streams: Sequence[_Stream], call: Call) -> list[Encoded]:
        """Cut the call's rows by stream."""
        config = self.tower.config
        reused = config.tokens - call.computed[:, 1:]
        macs = frame_macs(config, self.parts.config, reused, call.references)
        whole = call.told(call.full)
        shares = call.shares([stream.done for stream in streams])
        return [
            Encoded(
                call.embeddings[rows], call.computed[rows], macs[rows], whole[rows],
                None if stream.chunk.last else self._state(stream),
            )
            for stream, rows in zip(streams, shares, strict=True)
        ]  # fmt: skip

    def _state(self, stream: _Stream) -> StreamState:
        side = self.tower.config.side
        cues = None if stream.cues is None else stream.cues[stream.done :].clone()
        return StreamState(
            num_frames=stream.num_frames,
            pending=stream.pixels[stream.done :].clone(),
            pending_cues=None if cues is None else cues.unflatten(1, (1, side, side)),
            tensors=stream.kept | stream.references,
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
