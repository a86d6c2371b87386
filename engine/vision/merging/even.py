"""Counts for DiffRate where none were learned: they fall evenly, and cost what is asked."""

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.macs import reduced_macs
from engine.vision.merging.rates import LEAST, Rates

HALVINGS = 30


def even_rates(config: VisionConfig, gmac: float) -> Rates:
    """Counts that fall evenly from layer to layer and cost so much a frame, most by pruning.

    Raises:
        UsageError: no counts cost so little, or so much.
    """
    merged = max(1, config.tokens // 64)

    def falling(drop: float) -> Rates:
        shares = [1 - drop * index / max(config.layers - 1, 1) for index in range(config.layers)]
        counts = [max(LEAST + merged, round(config.tokens * share)) for share in shares]
        left = tuple(count - merged for count in counts[1:])
        return Rates((config.tokens, *counts[1:]), (config.tokens, *left))

    def cost(drop: float) -> float:
        return reduced_macs(config, DiffRate(falling(drop))) / 1e9

    low, high = 0.0, float(config.layers)
    if not cost(high) <= gmac <= cost(low):
        raise UsageError(
            f"gmac of this tower lies between {cost(high):.3g} and {cost(low):.3g}, got {gmac:g}"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= gmac else (middle, high)
    return falling(high)
