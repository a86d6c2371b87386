"""Entries with every token, and with reuse forced on random patches at every gate."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from engine.evaluation.bench.eager import Eager
from engine.evaluation.bench.timed import (
    FORCED,
    TimedEntry,
    TimedSetting,
    random_pixels,
)
from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.tower import VisionConfig
from engine.vision.earlygate.forward import SOURCES, step_macs
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.fused.dense import FusedDense
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import serve
from engine.vision.streaming.schedule import GROUP
from engine.vision.streaming.stepper import Batch


def dense_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Dense by our kernels: the baseline of all others."""
    tower, frames = setting.tower, setting.streams * GROUP
    dense = FusedDense(tower, frames)
    dense.pixels.copy_(random_pixels(tower, frames))
    macs = float(dense_macs(tower.config))
    yield TimedEntry("dense", lambda: dense.run(frames), frames, macs, kernels=True)


def compiled_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Dense as torch.compile makes it of the plain tower, in the same precision."""
    tower, frames = setting.tower, setting.streams * GROUP
    pixels = random_pixels(tower, frames)
    forward = torch.compile(lambda values: tower(tower.normalise(values)))
    with torch.inference_mode():
        forward(pixels)
    yield TimedEntry(
        "compiled", _inference(forward, pixels), frames, float(dense_macs(tower.config))
    )


def eager_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Float32, eager, attention by hand: the kind of baseline that published gains stand on."""
    tower, frames = setting.tower, setting.streams
    eager = Eager(tower)
    pixels = random_pixels(tower, frames)
    macs = float(dense_macs(tower.config))
    yield TimedEntry("eager-fp32", _inference(eager.encode, pixels), frames, macs)


def reusevit_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """ReuseViT at each rate, groups of four frames of every stream."""
    tower, streams = setting.tower, setting.streams
    modules = ReuseModules(tower.config, ReuseConfig(cue="none")).to(tower.device)
    fused = FusedReuse(tower, serve(modules, tower), streams=streams, forced=True)
    memory = fused.memory
    assert memory.forced is not None
    memory.pixels.copy_(random_pixels(tower, GROUP * streams))
    memory.full.fill_(True)
    memory.sizes.fill_(1)
    fused.run(1, streams)
    memory.full.zero_()
    memory.sizes.fill_(GROUP)
    for rate in setting.rates:
        memory.forced.copy_(torch.rand(memory.forced.shape, device=tower.device) < rate)
        yield TimedEntry(
            "reusevit", lambda: fused.run(GROUP, streams), GROUP * streams,
            reuse_macs(tower.config, rate), rate, memory.state_bytes, kernels=True,
            holds=FORCED + ", no codec net",
        )  # fmt: skip


def reuse_macs(config: VisionConfig, rate: float, narrow: int = 64, hidden: int = 160) -> float:
    """Multiply-accumulates of one frame when `rate` of the patches is reused at every gate."""
    patches, gates = config.tokens - 1, config.layers - 1
    kept, taken = 1 + patches * (1 - rate), patches * rate
    row = finish_macs(config, 1) + project_macs(config, 1)
    each = attend_macs(config, config.tokens) + kept * row
    each += taken * 8 * narrow * config.width + 14 * config.tokens * config.width / GROUP
    each += patches * 8 * hidden
    first = embed_macs(config) + project_macs(config, config.tokens)
    last = attend_macs(config, 1) + finish_macs(config, 1) + head_macs(config)
    return first + gates * each + last


def earlygate_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """The early gate at each rate, groups of four frames of every stream, one random mask each."""
    tower, streams, config = setting.tower, setting.streams, setting.tower.config
    limits = FixedLimits.uniform(config, 0.0)
    fused = FusedGate(tower, limits, streams, forced=True)
    fused.begin(streams)
    pixels = random_pixels(tower, GROUP * streams)
    slots, places = np.divmod(np.arange(GROUP * streams), streams)
    gated = np.zeros(GROUP * streams, bool)
    fused.step(Batch(slots[:streams], places[:streams], ~gated[:streams], pixels[:streams]))
    candidates = torch.tensor([len(allowed) for allowed in SOURCES], device=tower.device)
    candidates = candidates.repeat_interleave(streams)
    for rate in setting.rates:
        reused = torch.rand(fused.memory.thresholds.shape[1:], device=tower.device) < rate
        fused.force(torch.where(reused, torch.inf, -1.0).expand_as(fused.memory.thresholds))
        stepped = fused.step(Batch(slots, places, gated, pixels))
        macs = float(step_macs(config, limits, stepped.computed, candidates).mean())
        yield TimedEntry(
            "earlygate", fused.run, len(slots), macs, rate, fused.memory.state_bytes(),
            kernels=True, holds=FORCED + ", compared at layer 1",
        )  # fmt: skip


def _inference(forward: Callable[[Tensor], Tensor], pixels: Tensor) -> Callable[[], object]:
    def step() -> object:
        with torch.inference_mode():
            return forward(pixels)

    return step
