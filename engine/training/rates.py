"""DiffRate's training: how many tokens each layer prunes and merges, at a cost that is asked."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counting
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import ModelError, UsageError
from engine.training.reusevit.frames import FrameSource
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import Layer, VisionConfig, VisionTower
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.macs import reduced_macs, taken
from engine.vision.merging.rates import MERGED, PRUNED, Rates
from kernels.ragged_attention import SMALLEST

EVERY = 10  # steps between two lines of the log
EPSILON = 1e-6  # of the masked softmax, as published


@dataclass(frozen=True, slots=True)
class RateTraining:
    """Everything that decides a run; the published one takes 15,000 steps at a rate of 0.01."""

    share: float  # of dense's multiply-accumulates
    steps: int = 150
    windows: int = 4  # of a step
    span: int = 4  # frames of a window
    granularity: int = 4  # tokens between two counts that are weighed
    learning_rate: float = 0.1
    last_rate: float = 0.01
    weight: float = 50.0  # of the squared miss of the share
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"share is of dense's cost, between 0 and 1, got {self.share}")
        if min(self.steps, self.windows, self.span, self.granularity) < 1:
            raise UsageError("steps, windows, span and granularity must be 1 or more")


class Count(nn.Module):
    """How many tokens are kept: a distribution over counts of patches, even at first."""

    candidates: Tensor

    def __init__(self, patches: int, granularity: int) -> None:
        super().__init__()
        counts = torch.arange(patches, 0, -granularity, dtype=torch.float32)
        self.register_buffer("candidates", counts)
        self.logits = nn.Parameter(torch.zeros(len(counts)))

    def forward(self) -> Tensor:
        """The count with the class token: whole, its gradient the mean's."""
        mean = (self.logits.softmax(0) * self.candidates).sum()
        return mean + (mean.detach().ceil() - mean.detach()) + 1

    def mask(self, tokens: int, left: int) -> Tensor:
        """1 for the tokens kept of those in order of importance, `[N]`; else 0, of `left`.

        Its gradient is that of how likely each is to be kept.
        """
        places = torch.arange(tokens, device=self.logits.device)
        inside = (places[:, None] < self.candidates + 1).float()
        kept = (inside * self.logits.softmax(0)).sum(1)  # a product would be halved in precision
        hard = ((places < int(self().detach())) | (places >= left)).float()
        return hard + kept - kept.detach()


class LearnedRates(nn.Module):
    """Two counts for each layer that may leave tokens: all but the first and the last."""

    def __init__(self, config: VisionConfig, granularity: int) -> None:
        super().__init__()
        self.config = config
        patches, inner = config.tokens - 1, max(config.layers - 2, 0)
        self.pruned = nn.ModuleList(Count(patches, granularity) for _ in range(inner))
        self.merged = nn.ModuleList(Count(patches, granularity) for _ in range(inner))

    def counts(self, index: int) -> tuple[Count, Count] | None:
        """Those of a layer, pruning first."""
        if not 0 < index < self.config.layers - 1:
            return None
        pruned, merged = self.pruned[index - 1], self.merged[index - 1]
        assert isinstance(pruned, Count)
        assert isinstance(merged, Count)
        return pruned, merged

    @torch.no_grad()
    def rates(self) -> Rates:
        """Whole counts, as a strategy takes them; the last layer's are the one's before."""
        found: list[tuple[int, int]] = [(self.config.tokens,) * 2]
        for index in range(1, self.config.layers):
            both = self.counts(index)
            found.append(found[-1] if both is None else (int(both[0]()), int(both[1]())))
        return Rates(tuple(p for p, _ in found), tuple(m for _, m in found))

    def cost(self) -> Tensor:
        """Share of dense's multiply-accumulates: of the whole counts, with a gradient.

        As published, the gradient of what a layer leaves goes to both of its counts alone.
        """
        config = self.config
        width, n = config.width, torch.tensor(float(config.tokens))
        total = torch.zeros(())
        for index in range(config.layers - 1):
            total = total + 4 * n * width**2 + 2 * n**2 * width
            if both := self.counts(index):
                kept = [each().cpu() for each in both]
                least = min(float(n.detach()), *(float(each.detach()) for each in kept))
                n = least + sum(each - each.detach() for each in kept)
            total = total + 2 * n * width * config.mlp
        total = total + 3 * n * width**2 + 2 * n**2 * width
        exact = reduced_macs(config, DiffRate(self.rates()))
        return (total - total.detach() + exact) / dense_macs(config)


def encode_masked(
    tower: VisionTower, learned: LearnedRates, values: Tensor, *, proportional: bool = True
) -> Tensor:
    """Embeddings `[B, E]` with all tokens computed; those that would be gone are seen by none.

    Args:
        tower: frozen.
        learned: the counts.
        values: normalised frames, `[B, 3, S, S]`.
        proportional: a merged token's key counts for all that it stands for.
    """
    h = tower.embed(values)
    sizes = h.new_ones(h.shape[:2], dtype=torch.float32)
    mask = torch.ones_like(sizes)
    left, final = h.shape[1], tower.config.layers - 1
    for index in range(final):
        layer = tower.layer(index)
        mixed, shares = attend_masked(
            layer, layer.project(h), mask, sizes if proportional else None
        )
        h = h + layer.out(mixed)
        if both := learned.counts(index):
            order = importance_order(shares)
            h = h.gather(1, order[..., None].expand_as(h))
            sizes, mask = sizes.gather(1, order), mask.gather(1, order)
            pruned, merged = (int(each().detach()) for each in both)
            if pruned < left:
                mask = mask * both[0].mask(h.shape[1], left)
                left = pruned
            if merged < left:
                h, sizes = merge_in_place(h, sizes, merged, left)
                mask = mask * both[1].mask(h.shape[1], left)
                left = merged
        h = layer.feed_forward(h)
    last = tower.layer(final)
    mixed, _ = attend_masked(last, last.project(h), mask, sizes if proportional else None)
    return tower.finish(last.finish(h[:, 0], mixed[:, 0]))


def attend_masked(
    layer: Layer, qkv: Tensor, mask: Tensor, sizes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Pre-projections `[B, N, D]`, and what the class token looks at, `[B, N]`, mean over heads.

    A masked token sees itself alone, and nobody sees it.
    """
    batch, tokens, _ = qkv.shape
    q, k, v = qkv.view(batch, tokens, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    if sizes is not None:
        scores = scores + sizes.clamp(min=SMALLEST).log()[:, None, None]
    seen = mask[:, None, None]
    seen = seen + (1 - seen) * torch.eye(tokens, device=mask.device)
    weights = (scores - scores.amax(-1, keepdim=True).detach()).exp() * seen
    shares = (weights + EPSILON / tokens) / (weights.sum(-1, keepdim=True) + EPSILON)
    mixed = (shares.to(v.dtype) @ v).transpose(1, 2).reshape(batch, tokens, -1)
    return mixed, shares[:, :, 0].mean(1)


def importance_order(shares: Tensor) -> Tensor:
    """Places `[B, N]`, the class token first, then by what the class token looks at."""
    ranked = shares.detach().clone()
    ranked[:, 0] = torch.inf
    return ranked.argsort(dim=1, descending=True, stable=True)


def merge_in_place(h: Tensor, sizes: Tensor, kept: int, left: int) -> tuple[Tensor, Tensor]:
    """Merge tokens `kept` to `left` into the most similar kept one; their rows stay where they are.

    A merged token is the plain mean; its size grows by each one's size times their cosine.
    """
    units = F.normalize(h.detach().float(), dim=-1)
    cosine = (units[:, kept:left] @ units[:, :kept].transpose(1, 2)).float()
    cosine[..., 0] = -torch.inf
    best, home = cosine.max(-1)
    gone = h[:, kept:left].float()
    total = h[:, :kept].float().scatter_add(1, home[..., None].expand_as(gone), gone)
    number = torch.ones_like(sizes[:, :kept]).scatter_add(1, home, torch.ones_like(best))
    grown = sizes[:, :kept].scatter_add(1, home, best * sizes[:, kept:left])
    merged = (total / number[..., None]).to(h.dtype)
    return torch.cat([merged, h[:, kept:]], 1), torch.cat([grown, sizes[:, kept:]], 1)


def train_rates(tower: VisionTower, config: RateTraining, source: FrameSource, log: Path) -> Rates:
    """Learn counts for a frozen tower; only they are moved, towards dense's own embeddings."""
    if not tower.config.by_class or tower.config.layers < 3:
        raise ModelError("rates are learned for towers of 3 layers or more with a class token")
    torch.manual_seed(config.seed)
    tower.requires_grad_(False).eval()
    device = tower.device
    learned = LearnedRates(tower.config, config.granularity).to(device)
    optimiser = torch.optim.AdamW(learned.parameters(), config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, config.steps, eta_min=config.last_rate
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "drift", "share"])
        for step, pixels in enumerate(islice(_batches(source, config), config.steps)):
            values = tower.normalise(pixels)
            with torch.autocast(device.type, torch.bfloat16):
                with torch.no_grad():
                    theirs = tower(values)
                ours = encode_masked(tower, learned, values)
            drift = 1 - F.cosine_similarity(ours.float(), theirs.float(), dim=-1).mean()
            share = learned.cost()
            loss = drift + config.weight * (share.to(device) - config.share) ** 2
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % EVERY == 0 or step + 1 == config.steps:
                writer.writerow([step, round(drift.item(), 5), round(share.item(), 4)])
                file.flush()
    return learned.rates()


def _batches(source: FrameSource, config: RateTraining) -> Iterator[Tensor]:
    """Frames uint8 `[B, 3, S, S]` of so many windows, epoch after epoch."""
    for epoch in counting():
        waiting = source.windows(config.span, epoch)
        found = False
        while len(taken_now := list(islice(waiting, config.windows))) == config.windows:
            found = True
            yield torch.cat([window.pixels for window in taken_now])
        if not found:
            raise ModelError(f"the source has no {config.windows} windows to make a step of")


def write_rates(path: Path, model: str, found: dict[str, Rates]) -> None:
    """Write learned counts in the published form, by target; those of others there are kept."""
    told = json.loads(path.read_text()) if path.exists() else {}
    mine = told.setdefault(model, {})
    for target, rates in found.items():
        mine[target] = {PRUNED: list(rates.pruned), MERGED: list(rates.merged)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told) + "\n")


def tell_rates(config: VisionConfig, rates: Rates) -> dict[str, object]:
    """What counts cost, and the tokens that each layer takes."""
    rule = DiffRate(rates)
    macs = reduced_macs(config, rule)
    share = macs / dense_macs(config)
    return {"share": share, "gmac": macs / 1e9, "tokens": taken(config, rule)}
