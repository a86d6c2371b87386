"""Every strategy that needs no text over a folder of videos, with a plain vision transformer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.evaluation.bench.strategies import STREAMS
from engine.evaluation.compare import Comparison, Setting, encode_settings, natural_points
from engine.evaluation.files import sample_files, video_files
from engine.evaluation.settings import (
    chosen_settings,
    plain_settings,
    published_settings,
    scaled_settings,
)
from engine.vision.backbone.plain import load_classes, load_plain
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.file import load_gate
from engine.vision.earlygate.strategy import EarlyGate


def run(
    weights: Path,
    videos: Path,
    *,
    limits: Path | None = None,
    rates: Path | None = None,
    rates_model: str | None = None,
    only: Sequence[str] = (),
    fps: float = 2.0,
    frames: int = 60,
    choose: Callable[[VisionTower], list[Setting]] | None = None,
) -> Comparison:
    """Compare on at most so many frames of each video.

    Args:
        weights: of a plain ViT.
        videos: a folder of them.
        limits: calibrated for the weights.
        rates: DiffRate's lists; those of `rates_model` are taken.
        rates_model: whose lists.
        only: families or settings; none: all.
        fps: sampled frames a second.
        frames: most frames of a video.
        choose: makes the settings, dense first; None: all that need no training.
    """
    tower, classes = load_plain(weights), load_classes(weights)
    size = tower.config.image_size
    preprocessing = Preprocessing(size, size, tower.config.mean, tower.config.std)
    if choose is None:
        settings = plain_settings(tower) + published_settings(tower, rates, rates_model)
    else:
        settings = choose(tower)
    if limits is not None:
        made = load_gate(limits, tower.config, weight_hash="").limits
        settings += scaled_settings(EarlyGate(tower, made))
    settings = chosen_settings(settings, only)
    failed: list[tuple[str, str]] = []
    files = ((path.stem, path) for path in video_files(videos))
    found = sample_files(files, fps, preprocessing, failed=failed)
    cut = (
        replace(each, pixels=each.pixels[:frames], seconds=each.seconds[:frames]) for each in found
    )
    encodings = encode_settings(settings, cut, tower.device, streams=STREAMS["cpu"])
    dense = encodings["dense"]
    notes = (
        f"{len(dense.videos)} videos, {dense.num_frames:,} frames at {fps:g}/s, {weights.stem};"
        f" float32, CPU threads: {torch.get_num_threads()}",
        *(f"left out {name}: {reason}" for name, reason in failed),
    )
    return Comparison("Natural clips", notes, list(natural_points(settings, encodings, classes)))
