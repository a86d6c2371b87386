"""Validation as served: hard gates, long streams, drift against dense."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.reusevit.clips import clip_cues
from engine.training.reusevit.frames import Window
from engine.training.reusevit.loss import teach
from engine.training.reusevit.pattern import Pattern
from engine.training.reusevit.soft import encode_clips
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.gating import hard
from engine.vision.reusevit.modules import ReuseModules
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Chunk, reuse_rate

REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Validation:
    """What the modules do to streams that they were not trained on."""

    drift: float  # 1 - mean cosine to dense, over all frames that are not full
    drift_p95: float
    worst: float
    reuse: float  # mean over all frames, full ones included
    reduction: float  # dense's multiply-accumulates over ours
    gate_reuse: tuple[float, ...]  # by gate, of the frames that are not full

    def loss(self, target: float, weight: float) -> float:
        """What decides which epoch was best: drift, and the reuse rate that is missing."""
        return self.drift + weight * max(target - self.reuse, 0.0)


def read_validation(folder: Path) -> Validation:
    """Return the best validation of the run in a folder."""
    best = json.loads((folder / REPORT).read_text())["validation"]
    return Validation(**{**best, "gate_reuse": tuple(best["gate_reuse"])})


@torch.inference_mode()
def validate(
    tower: VisionTower,
    modules: ReuseModules,
    windows: Iterable[Window],
    *,
    schedule: Schedule | None = None,
    streams: int = 16,
) -> Validation:
    """Encode every window as one stream, by the strategy and densely."""
    strategy = ReuseViT(tower, modules, schedule=schedule)
    dense, lost, rates, macs, shares, full_macs = Dense(tower), [], [], [], [], []
    for batch in _batches(windows, streams):
        chunks = [Chunk(window.pixels, last=True, cues=window.cues) for window in batch]
        plain = [Chunk(window.pixels, last=True) for window in batch]
        for ours, theirs in zip(strategy.encode(chunks), dense.encode(plain), strict=True):
            cosine = F.cosine_similarity(ours.embeddings.float(), theirs.embeddings.float())
            lost.append((1 - cosine)[~ours.full])
            rates.append(reuse_rate(ours, tower))
            macs.append(ours.macs)
            full_macs.append(theirs.macs)
            shares.append(1 - ours.computed[~ours.full, 1:].double() / tower.config.tokens)
    drift = torch.cat(lost).double()
    return Validation(
        drift=float(drift.mean()),
        drift_p95=float(drift.quantile(0.95)),
        worst=float(drift.max()),
        reuse=float(torch.cat(rates).mean()),
        reduction=float(torch.cat(full_macs).sum() / torch.cat(macs).sum()),
        gate_reuse=tuple(round(value, 4) for value in torch.cat(shares).mean(0).tolist()),
    )


@torch.inference_mode()
def layer_drift(
    tower: VisionTower, modules: ReuseModules, windows: Iterable[Window], pattern: Pattern
) -> tuple[float, ...]:
    """Mean drift of the hidden states behind each gate, over the scored slots of clips."""
    modules.eval()
    sums: Tensor | None = None
    count = 0
    for window in windows:
        pixels = window.pixels[list(pattern.offsets)]
        values = tower.normalise(pixels)[None]
        cues = clip_cues(modules, [window], tower.config.patch, tower.device)
        chosen = None if cues is None else cues[:, list(pattern.offsets)]
        result = encode_clips(tower, modules, values, chosen, pattern, lambda _gate, _slot: hard)
        theirs = teach(tower, values).hidden
        lost = torch.stack(
            [
                1
                - F.cosine_similarity(a.float(), b.float(), dim=-1)[:, -pattern.num_scored :].mean()
                for a, b in zip(result.hidden, theirs, strict=False)
            ]
        )
        sums = lost if sums is None else sums + lost
        count += 1
    return () if sums is None else tuple(round(value / count, 5) for value in sums.tolist())


def _batches(windows: Iterable[Window], size: int) -> Iterable[list[Window]]:
    batch: list[Window] = []
    for window in windows:
        batch.append(window)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
