"""ReuseViT: learned reuse of tokens between neighbouring frames, with a learned correction."""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.layers import fits
from engine.vision.reusevit.cue import check_cues, codec_cues, no_history, pixel_cues, windows
from engine.vision.reusevit.fused import FusedReuse, fusible
from engine.vision.reusevit.macs import frame_macs
from engine.vision.reusevit.memory import fitting_streams
from engine.vision.reusevit.modules import ReuseModules
from engine.vision.reusevit.plain import Forced, PlainReuse, serve
from engine.vision.streaming.call import Call
from engine.vision.streaming.driver import encode_streams
from engine.vision.streaming.marks import Marked, MarkedState, look, receive_marked
from engine.vision.streaming.references import References
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.stepper import run_rounds
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy
from engine.vision.streaming.streams import Stream

SHIFT = 2.0  # of the logits, for a scale of e


@dataclass(slots=True)
class ReuseState(MarkedState[References]):
    """What is kept of a stream besides: cues of waiting frames, and what the next cues look at."""

    cues: Tensor | None = None  # [P, patches] of the waiting frames
    previous: Tensor | None = None  # uint8 [3, S, S], the last frame, where pixels are compared
    history: Tensor | None = None  # maps of the last frames


ReuseStream = Stream[ReuseState, References]


def cue_side(strategies: Iterable[Strategy]) -> int | None:
    """Cells along the maps of codec cues, if one of the strategies was trained with them."""
    sides = (
        each.tower.config.side
        for each in strategies
        if isinstance(each, ReuseViT) and each.modules.config.cue == "codec"
    )
    return next(sides, None)


class ReuseViT:
    """Encode groups of frames in the order 4-2-1-3, all streams of a call side by side.

    A group ends before a frame that is marked, as after a scene cut, and that frame is full.
    """

    name = "reusevit"
    whole_streams = False

    def __init__(
        self,
        tower: VisionTower,
        modules: ReuseModules,
        *,
        schedule: Schedule | None = None,
        refresh: Refresh | None = None,
        bias: float = 0.0,
        forced: Forced | None = None,
    ) -> None:
        self.tower = tower
        self.modules = modules
        self.schedule = schedule or Schedule()
        self.refresh = refresh or Refresh()
        gates = serve(modules, tower)
        self.stepper: PlainReuse | FusedReuse
        if fits(tower) and fusible(modules.config) and forced is None:
            free, _ = torch.cuda.mem_get_info(tower.device)
            streams = fitting_streams(tower.config, free)
            self.stepper = FusedReuse(tower, gates, streams=streams, bias=bias)
        else:
            self.stepper = PlainReuse(tower, gates, modules.config.chain, bias, forced)

    def with_scale(self, scale: float) -> "ReuseViT":
        """Shift every logit of reuse: below 1 less is reused and drift falls, above 1 it rises."""
        shift = SHIFT * math.log(scale) if scale > 0 else -math.inf
        looser = copy.copy(self)
        looser.stepper = self.stepper.shifted(shift)
        return looser

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode whatever groups the chunks complete; the rest waits in their states."""
        return encode_streams(self, chunks)

    def look(self, pixels: Tensor) -> Tensor:
        """Return the frames' brightness by patch, in which cuts are seen."""
        return look(self.tower, pixels)

    def receive(self, chunks: Sequence[Chunk]) -> list[ReuseStream]:
        """Mark cuts, make the cues of the frames that are new, and say what is encoded."""
        side = self.tower.config.side
        for chunk in chunks:
            check_cues(self.modules.config.cue, chunk.cues, len(chunk.pixels), side)
        marked = receive_marked(self.tower, chunks, ReuseState, self.refresh, self.schedule)
        return [self._begin(*each) for each in zip(chunks, marked, strict=True)]

    def run(self, streams: Sequence[ReuseStream], call: Call) -> Tensor:
        """Encode groups of all streams, and keep the cues of the frames that still wait."""
        run_rounds(self.stepper, streams, call)
        for stream in streams:
            stream.state.passed(stream.done)
            if stream.cues is not None:
                stream.state.cues = stream.cues[stream.done :].clone()
        reused = self.tower.config.tokens - call.computed[:, 1:]
        return frame_macs(self.tower.config, self.modules.config, reused, call.references)

    def _begin(self, chunk: Chunk, marked: Marked[ReuseState]) -> ReuseStream:
        state, pixels = marked.state, marked.pixels
        new = self._cues(pixels, chunk.cues, state)
        cues = [each.to(pixels.device) for each in (state.cues, new) if each is not None]
        return Stream(state, marked.steps, chunk.last, torch.cat(cues) if cues else None)

    def _cues(self, pixels: Tensor, given: Tensor | None, state: ReuseState) -> Tensor | None:
        """Numbers `[F, patches]` of new frames; the state then holds what the next ones need."""
        config, trained, device = self.tower.config, self.modules.config.cue, pixels.device
        if trained == "none":
            return None
        if not len(pixels):
            return pixels.new_empty(0, config.side**2, dtype=torch.float32)
        if trained == "codec":
            assert given is not None
            maps = codec_cues(given.to(device))
        else:
            previous = pixels[0] if state.previous is None else state.previous.to(device)
            maps = pixel_cues(pixels, previous, config.patch)
            state.previous = pixels[-1].clone()
        kept = state.history
        history = no_history(config.side, device) if kept is None else kept.to(device)
        state.history = torch.cat([history, maps])[-len(history) :]
        return self.modules.cue(windows(history, maps))
