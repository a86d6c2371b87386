"""Per-layer thresholds for any checkpoint: found on a sample of frames, without training."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.cuts import kind_of
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk

logger = logging.getLogger(__name__)
AIM = 0.6  # of the bound: what the mean drift of the sample is brought to
START = 0.2  # threshold of every layer to begin with
STEPS = (1.6, 1.25)  # factors tried on a group of layers, one round each

Tell = Callable[[int, int, str], None]


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What limits gave on the sample."""

    drift: float  # mean over streams
    share: float  # of dense multiply-accumulates


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The limits found, and what they do."""

    limits: FixedLimits | LearnedLimits
    trial: Trial
    report: Mapping[str, Any]


class Sample:
    """Streams with their dense vectors; trials are remembered in a file, so a search resumes."""

    def __init__(self, gate: EarlyGate, streams: Sequence[Tensor], memo: Path | None) -> None:
        if not any(len(stream) > 1 for stream in streams):
            raise UsageError("calibration needs a stream of at least two frames")
        self.gate = gate
        self.streams = [stream for stream in streams if len(stream) > 1]
        chunks = [Chunk(stream, last=True) for stream in self.streams]
        self.dense = [each.embeddings for each in Dense(gate.tower).encode(chunks)]
        self.memo = memo
        digest = hashlib.sha256(b"".join(stream.numpy().tobytes() for stream in self.streams))
        self.key = digest.hexdigest()[:16]
        self.known: dict[str, list[float]] = {}
        self.done = 0  # trials; those that are spared count too
        self.tell: Tell = _nobody
        self.most = 0
        if memo and memo.exists():
            stored = json.loads(memo.read_text())
            self.known = stored["trials"] if stored["sample"] == self.key else {}

    def reach(self, done: int, note: str = "") -> None:
        """So many trials are done, or spared."""
        self.done = done
        self.tell(done, self.most, note)

    def try_out(self, thresholds: Sequence[float]) -> Trial:
        """Encode the sample with these thresholds, unless that was done before."""
        name = " ".join(f"{threshold:.6g}" for threshold in thresholds)
        if name not in self.known:
            trial = self._run(thresholds)
            self.known[name] = [trial.drift, trial.share]
            logger.info("drift %.4f at %.3f of dense", trial.drift, trial.share)
            if self.memo:
                stored = {"sample": self.key, "trials": self.known}
                temporary = self.memo.with_suffix(".tmp")
                temporary.write_text(json.dumps(stored))
                temporary.replace(self.memo)
        return Trial(*self.known[name])

    def _run(self, thresholds: Sequence[float]) -> Trial:
        drifts, macs, _ = self.measure(thresholds)
        share = torch.cat(macs).mean() / dense_macs(self.gate.tower.config)
        return Trial(float(torch.stack([drift.mean() for drift in drifts]).mean()), float(share))

    def measure(
        self, thresholds: Sequence[float]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Drift `[F]`, multiply-accumulates `[F]` and computed tokens `[F, L]` of each stream."""
        limits = with_thresholds(self.gate.limits, thresholds)
        gate = replace(self.gate, limits=limits)
        encoded = gate.encode([Chunk(stream, last=True) for stream in self.streams])
        drifts = [
            1 - F.cosine_similarity(each.embeddings.float(), exact.float())
            for each, exact in zip(encoded, self.dense, strict=True)
        ]
        return drifts, [each.macs for each in encoded], [each.computed for each in encoded]


def calibrate(
    gate: EarlyGate,
    streams: Sequence[Tensor],
    *,
    max_drift: float = 0.02,
    aim: float = AIM,
    rounds: int = 2,
    memo: Path | None = None,
    tell: Tell = _nobody,
) -> Calibrated:
    """Search thresholds with the least arithmetic whose mean drift is near the bound.

    One factor for all layers is bisected first. Then groups of layers are loosened in turn while
    the factor brings the drift back; what costs less is kept. `memo` lets a broken-off search
    resume.

    Args:
        gate: the early gate with the limits to start from; a learned part is kept, and a bridge:
            a mean drift does not show the brief events that one costs.
        streams: uint8 `[F, 3, S, S]` each, consecutive sampled frames.
        max_drift: the bound to be kept later.
        aim: share of the bound that the sample's mean drift is brought to.
        rounds: passes over the groups of layers.
        memo: file of trials.
        tell: is told after each trial how many are done, of at most how many, and what it gave.
    """
    sample, aim = Sample(gate, streams, memo), aim * max_drift
    limits = gate.limits
    base = limits.base if isinstance(limits, LearnedLimits) else limits
    shape = [threshold * base.scale for threshold in base.thresholds]
    groups = layer_groups(len(shape))
    whole, part = 7, 4  # trials of a bisection
    sample.tell, sample.most = tell, 1 + whole + len(STEPS[:rounds]) * len(groups) * 2 * part
    best, trial = bisect(sample, shape, aim, steps=whole)
    for number, (factor, group) in enumerate(product(STEPS[:rounds], groups)):
        begun = 1 + whole + number * 2 * part
        for place, change in enumerate((factor, 1 / factor)):
            sample.reach(begun + place * part)
            tilted = [t * (change if at in group else 1.0) for at, t in enumerate(best)]
            candidate, found = bisect(sample, tilted, aim, steps=part)
            if found.share < trial.share and found.drift <= max(aim, trial.drift):
                best, trial = candidate, found
                break
    sample.reach(sample.most)
    return Calibrated(with_thresholds(limits, best), trial, _report(sample, best))


def bisect(
    sample: Sample, shape: Sequence[float], aim: float, *, steps: int
) -> tuple[list[float], Trial]:
    """Scale thresholds of this shape until the drift is at most `aim`, and near it."""
    low, high = 0.0, 0.0
    nothing = [min(threshold, 0.0) for threshold in shape]  # layers without a gate get none
    factor, kept = 1.0, (nothing, sample.try_out(nothing))
    for _ in range(steps):
        thresholds = [threshold * factor for threshold in shape]
        trial = sample.try_out(thresholds)
        sample.reach(sample.done + 1, f"drift {trial.drift:.4f} at {trial.share:.3f} of dense")
        if trial.drift <= aim:
            low, kept = factor, (thresholds, trial)
            if trial.drift >= 0.93 * aim:
                break
        else:
            high = factor
        factor = (low + high) / 2 if low and high else factor * (2.0 if low else 0.5)
    return kept


def layer_groups(gates: int) -> list[range]:
    """Split the gates into five runs, short ones first: early gates decide most."""
    bounds = sorted({0, 1, gates // 5, 2 * gates // 5, 3 * gates // 5, gates})
    return [range(start, stop) for start, stop in pairwise(bounds)]


def with_thresholds(
    limits: FixedLimits | LearnedLimits, thresholds: Sequence[float]
) -> FixedLimits | LearnedLimits:
    """Return the same limits with other thresholds."""
    plain = FixedLimits(tuple(thresholds))
    return replace(limits, base=plain) if isinstance(limits, LearnedLimits) else plain


def _report(sample: Sample, thresholds: Sequence[float]) -> dict[str, Any]:
    drifts, macs, computed = sample.measure(thresholds)
    config = sample.gate.tower.config
    kinds = [kind_of(stream, config.patch) for stream in sample.streams]
    by_kind = {}
    for kind in sorted(set(kinds)):
        chosen = [at for at, name in enumerate(kinds) if name == kind]
        rates = torch.cat([computed[at] for at in chosen])[:, 1:].double() / config.tokens
        by_kind[kind] = {
            "streams": len(chosen),
            "drift": float(torch.stack([drifts[at].mean() for at in chosen]).mean()),
            "reuse": float(1 - rates.mean()),
            "share": float(torch.cat([macs[at] for at in chosen]).mean() / dense_macs(config)),
        }
    every = torch.cat(computed)[:, 1:].double() / config.tokens
    return {
        "frames": sum(len(stream) for stream in sample.streams),
        "drift": float(torch.stack([drift.mean() for drift in drifts]).mean()),
        "drift_p95": float(torch.cat(drifts).quantile(0.95)),
        "share": float(torch.cat(macs).mean() / dense_macs(config)),
        "reuse_by_layer": [round(1 - float(rate), 4) for rate in every.mean(0)],
        "by_kind": by_kind,
    }
