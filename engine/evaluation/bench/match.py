"""How often a bare CLIP_MATCH is wrong: calibrated matches on made-up clips, truth known."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engine.background import background_of
from engine.evaluation.report import Report
from engine.search.null import measure_null, quantile
from engine.vision.model import load_model
from engine.world.clip import make_pool
from engine.world.render import render_at
from engine.world.scene import Clip

RATES = (0.1, 0.03, 0.01, 0.003, 0.001)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Which texts were written for which frames; other texts of the same clip count as neither."""

    own: NDArray[np.bool_]  # [n, T]
    foreign: NDArray[np.bool_]  # [n, T]


def run(*, model: str = "builtin", device: str = "auto", clips: int = 40, seed: int = 7) -> Report:
    """Match every frame of held-out clips with every clip's captions; one row per asked rate."""
    loaded = load_model(model, device=device)
    pool = list(islice(make_pool("test", clips, seed), clips))
    shown = [(place, second) for place, clip in enumerate(pool) for second in _seconds(clip)]
    images = [render_at(pool[place], second) for place, second in shown]
    frames = loaded.embed_images(images)
    texts = [(place, span) for place, clip in enumerate(pool) for span in clip.spans]
    vectors = loaded.embed_texts([span.caption for _, span in texts])
    pairs = _pairs(shown, [(place, s.start_seconds, s.stop_seconds) for place, s in texts])
    null = measure_null(loaded, background_of(loaded.space.model), frames)
    scores = (frames - null.mean_frame) @ (vectors - null.mean_text).T
    rows = []
    for rate in RATES:
        hits = scores >= quantile(null, 1 - rate)
        rows.append((rate, float(hits[pairs.foreign].mean()), float(hits[pairs.own].mean())))
    return Report(
        title=f"bare CLIP_MATCH, {loaded.space.key}, {clips} held-out clips",
        columns=("asked rate", "false matches", "true matches"),
        rows=rows,
        notes=(
            f"{len(frames)} frames at 1 per second, {len(texts)} captions of spans; a caption's "
            "own span should match, frames of other clips should not",
        ),
        data={"seed": seed, "middle": null.middle, "width": null.width},
    )


def _seconds(clip: Clip) -> list[float]:
    return [float(second) + 0.5 for second in range(int(clip.duration_seconds))]


def _pairs(shown: Sequence[tuple[int, float]], texts: Sequence[tuple[int, float, float]]) -> _Pairs:
    clip_of, seconds = (np.asarray(part) for part in zip(*shown, strict=True))
    clips, starts, stops = (np.asarray(part) for part in zip(*texts, strict=True))
    same = clip_of[:, None] == clips[None, :]
    inside = (seconds[:, None] >= starts[None, :]) & (seconds[:, None] < stops[None, :])
    return _Pairs(same & inside, ~same)
