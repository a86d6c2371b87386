"""Entries that decide by themselves, over pictures of which so many patches are new."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle

import numpy as np
import torch
from torch import Tensor, nn

from engine.evaluation.bench.forced import reuse_macs
from engine.evaluation.bench.timed import (
    LIVE,
    TimedEntry,
    TimedSetting,
    in_groups,
    meet,
    moving_pixels,
    random_pixels,
)
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.forward import SOURCES, step_macs
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.emulated.fused import FusedEmulated
from engine.vision.emulated.rules import Farther, Farthest
from engine.vision.eventful.fused import FusedEventful
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.even import even_rates
from engine.vision.merging.fused import FusedMerging
from engine.vision.merging.reduction import Reduction
from engine.vision.merging.strategy import Merging
from engine.vision.merging.tome import ToMe
from engine.vision.reusevit.codec import codec_macs
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import serve
from engine.vision.streaming.schedule import GROUP
from engine.vision.streaming.sequential import SequentialStepper
from engine.vision.streaming.stepper import Batch, Stepped

FRAMES = 12  # pictures of a stream, in turns
BUDGETS = {"L/14": 31.0, "B/16": 8.7, "Ti/16": 0.6}  # GMAC of DiffRate, as published for them
PASSED = (0.1, 0.2, 0.4)  # of the tokens, by Eventful's gates


def reusevit_live_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """ReuseViT deciding by similarity, without and with its codec net."""
    tower, streams = setting.tower, setting.streams
    modules = _wide_awake(ReuseModules(tower.config, ReuseConfig(cue="codec"))).to(tower.device)
    fused = FusedReuse(tower, serve(modules, tower), streams=streams)
    memory, codec = fused.memory, _codec_step(modules, tower, GROUP * streams)
    memory.sizes.fill_(GROUP)
    for rate in setting.rates:
        step, measure = _in_turns(setting, rate, memory.pixels, lambda: fused.run(GROUP, streams))

        def reused(bias: float, measure: Callable[..., float] = measure) -> float:
            fused.bias = bias
            fused.begin(streams)
            patches = 1 - 1 / tower.config.tokens
            return measure(lambda: float(memory.reused.float().mean()) / patches)

        reached = reused(meet(rate, -4000.0, 4000.0, reused))
        macs = reuse_macs(tower.config, reached)
        entry = TimedEntry(
            "reusevit-live", step, GROUP * streams, macs, round(reached, 3), memory.state_bytes,
            kernels=True, holds=LIVE + ", no codec net",
        )  # fmt: skip
        yield entry

        def both(step: Callable[[], object] = step) -> None:
            memory.cue.copy_(codec())
            step()

        macs += codec_macs(tower.config.side)
        yield replace(entry, step=both, macs=macs, kernels=False, holds=LIVE + ", codec net")


def codec_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """ReuseViT's codec net alone."""
    tower, frames = setting.tower, GROUP * setting.streams
    modules = ReuseModules(tower.config, ReuseConfig(cue="codec")).to(tower.device).eval()
    step, macs = _codec_step(modules, tower, frames), codec_macs(tower.config.side)
    yield TimedEntry("codec-net", step, frames, float(macs), holds="codec net alone", kept=0.0)


def earlygate_live_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """The early gate comparing at every layer, by one threshold."""
    tower, streams, config = setting.tower, setting.streams, setting.tower.config
    limits = FixedLimits.uniform(config, 1.0)
    fused = FusedGate(tower, limits, streams)
    fused.begin(streams)
    slots, places = np.divmod(np.arange(GROUP * streams), streams)
    whole, pixels = np.ones(streams, bool), random_pixels(tower, GROUP * streams)
    fused.step(Batch(slots[:streams], places[:streams], whole, pixels[:streams]))
    fused.step(Batch(slots, places, np.zeros(len(slots), bool), pixels))
    candidates = torch.tensor([len(allowed) for allowed in SOURCES], device=tower.device)
    candidates = candidates.repeat_interleave(streams)
    for rate in setting.rates:
        step, measure = _in_turns(setting, rate, fused.memory.pixels, fused.run)

        def reused(threshold: float, measure: Callable[..., float] = measure) -> float:
            fused.force(torch.tensor(threshold))
            return measure(lambda: _reused(config, fused.memory.num_queries.T))

        reached = reused(meet(rate, 0.0, 4.0, reused))
        computed = nn.functional.pad(fused.memory.num_queries.T, (1, 0), value=config.tokens)
        macs = float(step_macs(config, limits, computed, candidates).mean())
        yield TimedEntry(
            "earlygate-live", step, len(slots), macs, round(reached, 3),
            fused.memory.state_bytes(), kernels=True, holds=LIVE + ", compared at every layer",
        )  # fmt: skip


def diffrate_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """DiffRate at the published budget, by counts that fall evenly from layer to layer."""
    name = next((n for n in BUDGETS if _is(n, setting.tower.config)), "B/16")
    rates = even_rates(setting.tower.config, BUDGETS[name])
    yield _merging(setting, DiffRate(rates), "diffrate", f"rule live, {BUDGETS[name]:g} GMAC")


def tome_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """ToMe as it is used unless told otherwise."""
    rule = ToMe.usual(setting.tower.config)
    yield _merging(setting, rule, "tome", f"rule live, r {rule.r:g}")


def eventful_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Eventful tokenwise, one frame of each of four times as many streams."""
    tower, config = setting.tower, setting.tower.config
    fifty = 50 / config.tokens
    for share in sorted({*PASSED, fifty}):
        r = round(share * config.tokens)
        stepper = FusedEventful(tower, r, GROUP * setting.streams)
        kept = f"gates {LIVE}, r {r}, tokenwise"
        yield _sequential(setting, stepper, "eventful", kept, share)
        del stepper


def emulated_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """Eventful as the artifact emulates it."""
    patches = setting.tower.config.tokens - 1
    for rate in setting.rates:
        rule = Farthest(round((1 - rate) * patches), patches)
        stepper = FusedEmulated(setting.tower, rule, GROUP * setting.streams)
        yield _sequential(setting, stepper, "eventful-emulated", f"{LIVE}, k {rule.k}", 1 - rate)
        del stepper


def cmc_entries(setting: TimedSetting) -> Iterator[TimedEntry]:
    """CMC as the artifact emulates it, at the threshold that reuses so many."""
    config, lanes = setting.tower.config, GROUP * setting.streams
    for rate in setting.rates:
        stepper = FusedEmulated(setting.tower, Farther(0.0), lanes)
        batches = _batches(setting, 1 - rate)

        def reused(
            threshold: float, stepper: FusedEmulated = stepper, batches: list[Batch] = batches
        ) -> float:
            stepper.rule = Farther(threshold)
            stepper.begin(lanes)
            stepper.step(replace(batches[-1], full=np.ones(lanes, bool)))
            steps = [[stepper.step(each).computed for each in batches] for _ in range(2)][1]
            return float(np.mean([_reused(config, each[:, 1:]) for each in steps]))

        threshold = meet(rate, 0.0, 4.0 * config.width, reused)
        stepper.rule = rule = Farther(threshold)
        yield _sequential(setting, stepper, "cmc-emulated", f"{LIVE}, T {rule.limit:.3g}", 1 - rate)
        del stepper, reused


def _merging(setting: TimedSetting, rule: Reduction, name: str, holds: str) -> TimedEntry:
    tower, frames = setting.tower, GROUP * setting.streams
    fused = FusedMerging(tower, rule, frames)
    fused.pixels.copy_(random_pixels(tower, frames))
    merging = Merging(tower, rule, name, fused=fused)
    kept = float(np.mean(merging.counts())) / tower.config.tokens
    return TimedEntry(
        name, lambda: fused.run(frames), frames, float(merging.macs()), kernels=True,
        holds=holds, kept=kept,
    )  # fmt: skip


def _sequential(
    setting: TimedSetting,
    stepper: FusedEventful | FusedEmulated,
    name: str,
    holds: str,
    share: float,
) -> TimedEntry:
    """One frame of each stream a step, after a full one; new patches as many as are computed."""
    lanes, batches = GROUP * setting.streams, _batches(setting, share)
    stepper.begin(lanes)
    stepper.step(replace(batches[-1], full=np.ones(lanes, bool)))
    found = [[stepper.step(batch) for batch in batches] for _ in range(2)][1]
    computed = torch.cat([each.computed for each in found])
    full = torch.zeros(len(computed), dtype=torch.bool, device=computed.device)
    turns = cycle(batches)

    def step() -> Stepped:
        return stepper.step(next(turns))

    macs = float(_counted(stepper).macs(computed, full).mean())
    rate = round(_reused(setting.tower.config, computed[:, 1:]), 3)
    return TimedEntry(name, step, lanes, macs, rate, kernels=True, holds=holds)


def _counted(stepper: FusedEventful | FusedEmulated) -> SequentialStepper[object]:
    return stepper  # type: ignore[return-value]


def _batches(setting: TimedSetting, share: float) -> list[Batch]:
    lanes = GROUP * setting.streams
    pictures = moving_pixels(setting.tower, lanes, 2 * GROUP, share)
    places, none = np.arange(lanes), np.zeros(lanes, np.int64)
    return [Batch(none, places, none.astype(bool), each) for each in pictures]


def _in_turns(
    setting: TimedSetting, rate: float, pixels: Tensor, run: Callable[[], object]
) -> tuple[Callable[[], None], Callable[..., float]]:
    """A step over the next group, copied in; and the mean of a figure over all in turn."""
    share = min(1.0, (1 - rate) / 2)  # a frame is two from its nearer reference, in the mean
    groups = in_groups(moving_pixels(setting.tower, setting.streams, FRAMES, share))
    turns = cycle(groups)

    def step() -> None:
        pixels.copy_(next(turns))
        run()

    def measure(figure: Callable[[], float]) -> float:
        found = []
        for _ in groups:
            step()
            found.append(figure())
        return float(np.mean(found))

    return step, measure


def _codec_step(modules: ReuseModules, tower: VisionTower, frames: int) -> Callable[[], Tensor]:
    side = tower.config.side
    windows = torch.rand(frames, 4, 4, side, side, device=tower.device)

    def step() -> Tensor:
        with torch.inference_mode():
            return modules.cue(windows)

    return step


def _wide_awake(modules: ReuseModules) -> ReuseModules:
    """Decisions that rise steeply with similarity; a bias says where they turn."""
    for index in range(len(modules.gates)):
        first, last = (modules.gate(index).decision.net[at] for at in (0, -1))
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            first.weight[:, 1] = 100.0
            last.weight[0] = 0.1
            last.weight[1] = 0.0
    return modules.eval()


def _reused(config: VisionConfig, computed: Tensor) -> float:
    """Of the patches, at the gates `[F, G]`."""
    return float(1 - (computed.float() - 1).mean() / (config.tokens - 1))


def _is(name: str, config: VisionConfig) -> bool:
    """Whether a budget is for towers of this shape."""
    layers, width = {"L/14": (24, 1024), "B/16": (12, 768), "Ti/16": (12, 192)}[name]
    return (config.layers, config.width) == (layers, width)
