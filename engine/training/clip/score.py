"""The trained towers' scores on rendered clips: retrieval and multiple choice."""

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.clip.loss import choice_scores
from engine.world import Clip, Split, make_pool
from engine.world.render import render_planes

FPS = 2
Texts = Callable[[Sequence[str]], Tensor]  # to unit rows [T, E]
Frames = Callable[[Tensor], Tensor]  # bytes [F, 3, S, S] to unit rows [F, E]


def score(
    split: Split, clips: int, seed: int, towers: tuple[Frames, Texts], *, size: int, workers: int
) -> dict[str, float]:
    """Embed a pool's clips at 2 frames a second, and score what the field asks of them."""
    frames, texts = towers
    pool = list(make_pool(split, clips, seed))
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        rendered = processes.imap(partial(sample_clip, size=size), pool, chunksize=4)
        embedded = [frames(torch.from_numpy(pixels)) for pixels in rendered]
    found = retrieval(embedded, texts([clip.caption for clip in pool]))
    return found | answers(pool, embedded, texts)


def sample_clip(clip: Clip, size: int) -> npt.NDArray[np.uint8]:
    """Frames `[F, 3, S, S]` of a clip, two a second."""
    ticks = range(0, clip.script.duration, 1000 // FPS)
    return np.stack([render_planes(clip.script, tick, size) for tick in ticks])


def retrieval(embedded: Sequence[Tensor], captions: Tensor) -> dict[str, float]:
    """R@1, R@5 and R@10 from text to video; a clip is the mean of its frames."""
    videos = torch.stack([F.normalize(rows.mean(0), dim=-1) for rows in embedded])
    similar = captions @ videos.T  # [T, V]
    right = similar.diagonal()[:, None]
    rank = (similar > right).sum(1)
    return {f"R@{k}": float((rank < k).float().mean()) for k in (1, 5, 10)}


def answers(pool: Sequence[Clip], embedded: Sequence[Tensor], texts: Texts) -> dict[str, float]:
    """Accuracy of multiple choice, overall (`accuracy`) and for each kind of question."""
    right: dict[str, list[bool]] = defaultdict(list)
    for clip, rows in zip(pool, embedded, strict=True):
        told = texts([f"{q.text} {choice}" for q in clip.questions for choice in q.choices])
        relevance = told @ rows.T  # [Q * C, F]
        for question, part in zip(clip.questions, relevance.split(4), strict=True):
            chosen = int(choice_scores(part[None]).argmax())
            right[question.kind].append(chosen == question.answer)
    kinds = {f"accuracy, {kind}": fmean(hits) for kind, hits in sorted(right.items())}
    return {"accuracy": fmean(hit for hits in right.values() for hit in hits)} | kinds
