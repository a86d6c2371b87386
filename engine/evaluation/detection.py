"""How well boxes are found: average precision at half overlap, its interval drawn over clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.5  # of the joint area of two boxes that they share, from which one finds the other
DRAWS = 400


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one frame; `weigh` is a score of what was found, 0 or 1 of what is there.

    What is there and weighs 0 is hardly to be seen: it is neither to be found nor wrong.
    """

    labels: tuple[str, ...]
    sides: NDArray[np.float64]  # [K, 4]: left, top, right, bottom
    weigh: NDArray[np.float64]  # [K]


@dataclass(frozen=True, slots=True)
class JudgedBoxes:
    """Boxes that were found, of all frames: whether each is right, by label and clip."""

    labels: NDArray[np.str_]
    clips: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    there: Mapping[str, NDArray[np.int64]]  # how many there are of a label, by clip


def judge(frames: Sequence[tuple[int, Boxes, Boxes]]) -> JudgedBoxes:
    """Compare what was found in frames with what is there, given as (clip, found, there).

    In a frame the surer box of a label comes first; it takes the box of its label that it covers
    best and that none has taken. What covers only a box that weighs 0 counts for nothing.
    """
    labels, clips, scores, right = [], [], [], []
    count = 1 + max((clip for clip, _, _ in frames), default=0)
    there: dict[str, NDArray[np.int64]] = {}
    for clip, found, truth in frames:
        for label, weight in zip(truth.labels, truth.weigh, strict=True):
            there.setdefault(label, np.zeros(count, np.int64))[clip] += int(weight > 0)
        shared = overlaps(found.sides, truth.sides)
        taken = np.zeros(len(truth.labels), bool)
        own = np.array(truth.labels)
        for at in np.argsort(-found.weigh, kind="stable"):
            near = shared[at] * (own == found.labels[at]) * ~taken if len(own) else shared[at]
            best = int(near.argmax()) if len(own) else -1
            hit = best >= 0 and near[best] >= ENOUGH
            if hit and truth.weigh[best] == 0:
                continue
            if hit:
                taken[best] = True
            labels.append(found.labels[at])
            clips.append(clip)
            scores.append(found.weigh[at])
            right.append(hit)
    return JudgedBoxes(
        np.array(labels, np.str_), np.array(clips, np.int64), np.array(scores, np.float64),
        np.array(right, bool), {label: counts for label, counts in there.items() if counts.any()},
    )  # fmt: skip


def overlaps(found: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shared area over joint area `[F, T]` of boxes `[F, 4]` and `[T, 4]`."""
    one, other = found[:, None], there[None]
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clip(min=0).prod(-1)
    joint = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    result: NDArray[np.float64] = shared / (joint - shared).clip(min=1e-12)
    return result


def mean_precision(judged: JudgedBoxes, times: NDArray[np.int64] | None = None) -> float:
    """Mean over the labels that are there of the area below precision by recall.

    At each recall counts the best precision at that recall or more.

    Args:
        times: how many times each clip counts; once without.
    """
    order = np.argsort(-judged.scores, kind="stable")
    labels, right = judged.labels[order], judged.right[order]
    weight = np.ones(len(order)) if times is None else times[judged.clips[order]]
    areas = []
    for label, counts in judged.there.items():
        total = counts.sum() if times is None else counts @ times
        if not total:
            continue
        own = labels == label
        hits, all_of = (weight[own] * right[own]).cumsum(), weight[own].cumsum()
        precision = hits / all_of.clip(min=1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        areas.append(float((best * weight[own] * right[own]).sum() / total))
    return float(np.mean(areas)) if areas else 0.0


def interval(
    judged: JudgedBoxes, clips: int, seed: int, beside: JudgedBoxes | None = None
) -> tuple[float, float]:
    """Bounds within which 95 % lie of what clips drawn anew with repetition give.

    Beside another's: of the quotient of both over the same clips.
    """
    drawn = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        times = np.bincount(drawn.integers(0, clips, clips), minlength=clips)
        own = mean_precision(judged, times)
        found.append(own if beside is None else own / max(mean_precision(beside, times), 1e-9))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
