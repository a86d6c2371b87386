"""Judge strategies: the same videos through each of them, then the three tasks on each result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from engine.answering.head import VectorReader
from engine.errors import NotFoundError, UsageError
from engine.evaluation.datasets.base import Dataset
from engine.evaluation.datasets.world import world_dataset
from engine.evaluation.encodings import Encodings, Pixels, encode, render_pool
from engine.evaluation.heads import TrainedHeads
from engine.evaluation.report import Report
from engine.evaluation.tasks import Scores, embed_dataset, score, tabulate
from engine.video.suffixes import SUFFIXES
from engine.vision.model import Model
from engine.vision.streaming.strategy import Strategy
from engine.world.scene import Clip
from engine.world.splits import Split

NO_HEADS = TrainedHeads()


def evaluate_world(
    model: Model,
    strategies: Mapping[str, Strategy],
    *,
    split: Split = "test",
    clips: int = 1000,
    seed: int = 7,
    fps: float = 2.0,
    workers: int = 2,
    streams: int = 8,
    reader: VectorReader | None = None,
    heads: TrainedHeads = NO_HEADS,
) -> Report:
    """Judge strategies on a pool of made-up clips with distinct captions; the first is dense."""
    pool: list[Clip] = []

    def pixels() -> Iterator[Pixels]:
        rendered = render_pool(
            split, clips, seed, fps=fps, size=model.tower.config.image_size, workers=workers
        )
        for clip, frames in rendered:
            pool.append(clip)
            yield frames

    encodings = encode_by_all(strategies, pixels(), streams=streams)
    scores, more = judge(world_dataset(pool), encodings, model, reader, heads)
    notes = (
        f"{clips} {split} clips, seed {seed}, {fps:g} frames/s, rendered frames before coding; "
        f"{torch.get_num_threads()} threads on {model.device}",
        "acc: multiple choice, chance 25; × is dense over this strategy: multiply-accumulates, "
        "processor time of all threads, time by the clock",
    )
    report = tabulate("The made-up world", scores, notes)
    return replace(report, more=report.more + more)


def evaluate_files(
    model: Model,
    strategies: Mapping[str, Strategy],
    dataset: Dataset,
    videos: Iterable[Pixels],
    *,
    streams: int = 8,
    reader: VectorReader | None = None,
    heads: TrainedHeads = NO_HEADS,
) -> Report:
    """Judge strategies on an annotated set of real videos; annotations without a video go.

    What was left out is told in the notes, because a set with its hard videos missing looks better.
    """
    encodings = encode_by_all(strategies, videos, streams=streams)
    present = next(iter(encodings.values())).videos
    kept = Dataset(
        dataset.name,
        tuple(item for item in dataset.captions if item.video in present),
        tuple(item for item in dataset.questions if item.video in present),
    )
    if not kept.captions and not kept.questions:
        raise NotFoundError(f"none of the {len(dataset.videos)} videos of {dataset.name} was found")
    missing = len(dataset.videos) - len(kept.videos)
    notes = (f"{len(kept.videos)} videos, {missing} of the annotated ones missing",)
    scores, more = judge(kept, encodings, model, reader, heads)
    report = tabulate(dataset.name, scores, notes)
    return replace(report, more=report.more + more)


def encode_by_all(
    strategies: Mapping[str, Strategy], videos: Iterable[Pixels], *, streams: int
) -> dict[str, Encodings]:
    """Encode every video by every strategy, holding a few videos' pixels at a time."""
    if not strategies:
        raise UsageError("no strategy to judge; give at least dense")
    found = {label: Encodings(label) for label in strategies}
    waiting = iter(videos)
    while batch := list(islice(waiting, streams)):
        for label, strategy in strategies.items():
            encode(strategy, batch, streams=streams, into=found[label])
    return found


def judge(
    dataset: Dataset,
    encodings: Mapping[str, Encodings],
    model: Model,
    reader: VectorReader | None,
    heads: TrainedHeads = NO_HEADS,
) -> tuple[list[Scores], tuple[Report, ...]]:
    """Score every strategy's vectors on every task, the first one being the reference.

    Trained heads get a table each.
    """
    dense = next(iter(encodings.values()))
    texts = embed_dataset(dataset, model.embed_texts)
    scores = [score(dataset, found, dense, texts, reader=reader) for found in encodings.values()]
    return scores, heads.compare(dataset, encodings, texts, reader)


def at_most(pixels: Pixels, frames: int) -> Pixels:
    """Thin a video out to at most so many frames, evenly, as the protocols of the field do."""
    if len(pixels.pixels) <= frames:
        return pixels
    kept = np.linspace(0, len(pixels.pixels) - 1, frames).round().astype(int)
    cues = None if pixels.cues is None else pixels.cues[kept]
    return replace(pixels, pixels=pixels.pixels[kept], seconds=pixels.seconds[kept], cues=cues)


def find_videos(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Find the files of named videos below a folder, whatever their suffix.

    What lies beside a video by the same name, such as its subtitles, is not taken for it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no folder of videos at {folder}")
    wanted = set(names)
    found: dict[str, Path] = {}
    named = [path for path in sorted(folder.rglob("*")) if path.stem in wanted and path.is_file()]
    for path in sorted(named, key=lambda path: SUFFIXES.fullmatch(path.suffix) is None):
        found.setdefault(path.stem, path)
    yield from ((name, found[name]) for name in names if name in found)
