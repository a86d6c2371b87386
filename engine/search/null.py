"""The null distribution: how unrelated texts and frames score, which a match must exceed.

A frame v and a text t score c = (v - v0) · (t - t0), with v0 and t0 the means over sample frames
and background texts, so that texts which fit everything and frames which fit every text lose their
lead. The width of the null is that of its upper half; but some background texts may fit some
frames, so it is held against the lower half, where no true match lies.
"""

from dataclasses import dataclass
from math import erf, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExecutionError
from engine.search.context import Background, Null, QueryEncoder, SearchContext
from engine.storage.store import Store

SAMPLE: Final = 1024  # rows that tell it
_TAIL = 0.01  # the quantiles, from below and above, that set the width
_HEAVIER = 1.5  # how much wider the upper half may be than the lower before matches explain it
GROWTH: Final = 4  # so many times more rows ask for a new null
_erf = np.vectorize(erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class MeasuredNull:
    """The null of a space as it is on record: about a normal distribution."""

    middle: float
    width: float  # the standard deviation
    num_rows: int  # of the store when it was measured

    def quantile(self, share: float) -> float:
        """The centred score that this share of unrelated pairs stays below."""
        return self.middle + self.width * NormalDist().inv_cdf(share)


def measured_null(store: Store, space: str) -> MeasuredNull | None:
    """Return the null of a space, where it was measured."""
    known = store.catalog.calibration(space, "null")
    if known is None:
        return None
    return MeasuredNull(known["middle"], known["width"], known["rows"])


def probability(null: Null, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of unrelated pairs that score lower, 0…1."""
    shares: NDArray[np.float64] = 0.5 * (1 + _erf((scores - null.middle) / (null.width * sqrt(2))))
    return shares


def quantile(null: Null, share: float) -> float:
    """The centred score that this share of unrelated pairs stays below."""
    return null.middle + null.width * NormalDist().inv_cdf(share)


def has_null(context: SearchContext) -> bool:
    """Whether scores are calibrated for the space, or can be: there are texts to hold against."""
    if context.null is not None or _stored(context) is not None:
        return True
    return bool(context.background().texts)


def load_null(context: SearchContext) -> Null:
    """The null of the query's space, looked up once per query."""
    if context.null is None:
        context.null = _find(context)
    return context.null


def _find(context: SearchContext) -> Null:
    """The stored null, or a new one where there is none or the store has outgrown it."""
    ids = context.reading.view.frames.row_ids
    if (stored := _stored(context)) is not None:
        return _read(stored)
    background = context.background()
    if len(ids) + len(background.images) < 2:
        raise ExecutionError("no frames to calibrate a match against", operator="null")
    sample = ids[:: max(1, len(ids) // SAMPLE)]
    frames = context.reading.rows.vectors(sample)
    null = measure_null(context.encoder, background, frames)
    stored = {
        "content": context.content,
        "rows": len(ids),
        "mean_text": null.mean_text.tolist(),
        "mean_frame": null.mean_frame.tolist(),
        "middle": null.middle,
        "width": null.width,
    }
    context.store.catalog.set_calibration(context.space, "null", stored)
    return null


def _stored(context: SearchContext) -> dict[str, Any] | None:
    """Return the null on record, if it was measured for this content and the store is as large."""
    stored = context.store.catalog.calibration(context.space, "null")
    num_rows = len(context.reading.view.frames)
    if stored is None or stored.get("content") != context.content:
        return None
    return stored if num_rows <= GROWTH * max(stored["rows"], 64) else None


def measure_null(
    encoder: QueryEncoder, background: Background, frames: NDArray[np.float32]
) -> Null:
    """Score background texts with sample frames `[n, E]` and background pictures."""
    if background.images:
        frames = np.concatenate([frames, encoder.embed_images(background.images)])
    return null_of(frames, encoder.embed_texts(background.texts))


def null_of(frames: NDArray[np.float32], texts: NDArray[np.float32]) -> Null:
    """Return how unrelated texts `[t, E]` and frames `[n, E]` score."""
    mean_frame, mean_text = frames.mean(0), texts.mean(0)
    scores = (frames - mean_frame) @ (texts - mean_text).T
    middle = float(np.median(scores))
    low, high = (float(value) for value in np.quantile(scores, [_TAIL, 1 - _TAIL]))
    lower, upper = max(middle - low, 1e-6), high - middle
    width = min(max(lower, upper), _HEAVIER * lower) / -NormalDist().inv_cdf(_TAIL)
    return Null(mean_text, mean_frame, middle, width)


def _read(stored: dict[str, Any]) -> Null:
    return Null(
        np.asarray(stored["mean_text"], np.float32),
        np.asarray(stored["mean_frame"], np.float32),
        float(stored["middle"]),
        float(stored["width"]),
    )
