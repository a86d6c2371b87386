"""The field's metrics: retrieval ranks, answer accuracy, grounding in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.answering.ground import overlap as overlap

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Ranks in one direction, in percent and places; a tie counts as its mean rank."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float  # the best is 1
    mean_rank: float
    num_queries: int
    num_tied: int  # queries whose right candidate shares its score with another one


@dataclass(frozen=True, slots=True)
class Grounding:
    """Answers and spans over all questions, in percent; what is missing counts as wrong."""

    acc_qa: float
    acc_gqa: float
    mean_iop: float
    mean_iou: float
    iop_at_03: float
    iop_at_05: float
    iou_at_03: float
    iou_at_05: float
    num_questions: int
    num_missing: int  # questions without a predicted span


def ranks(
    scores: NDArray[np.floating], truth: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each query's rank, 0 the best and a tie its mean, and how many share its score."""
    right = np.asarray(truth)
    if scores.ndim != 2 or len(right) != len(scores) or not len(scores):
        raise ValueError(f"expected [queries, candidates], got {scores.shape = }, {len(right) = }")
    own = scores[np.arange(len(scores)), right][:, None]
    ties = (scores == own).sum(1) - 1
    return (scores > own).sum(1) + ties / 2, ties


def retrieval(scores: NDArray[np.floating], truth: Sequence[int] | None = None) -> Retrieval:
    """Rank candidates (columns) for queries (rows).

    `truth[i]` is the right column of row i, by default column i. For several captions per video
    give the captions as rows.
    """
    found, ties = ranks(scores, range(len(scores)) if truth is None else truth)
    return Retrieval(
        recall_at_1=_percent(found < 1),
        recall_at_5=_percent(found < 5),
        recall_at_10=_percent(found < 10),
        median_rank=float(np.median(found)) + 1,
        mean_rank=float(found.mean()) + 1,
        num_queries=len(scores),
        num_tied=int((ties > 0).sum()),
    )


def video_to_text(scores: NDArray[np.floating], truth: Sequence[int]) -> Retrieval:
    """Rank captions for videos: a video's rank is that of its best caption.

    `scores` are texts × videos and `truth[i]` is text i's video.
    """
    owners = np.asarray(truth)
    best = np.full((scores.shape[1], scores.shape[1]), -np.inf)
    for video in range(scores.shape[1]):
        if (mine := owners == video).any():
            best[:, video] = scores[mine].max(0)
    asked = np.unique(owners)
    return retrieval(best[asked], asked.tolist())


def accuracy(predicted: Sequence[int], answers: Sequence[int]) -> float:
    """Share of right answers in percent."""
    if len(predicted) != len(answers) or not answers:
        raise ValueError(f"expected two lists alike, got {len(predicted)} and {len(answers)}")
    return _percent(np.asarray(predicted) == np.asarray(answers))


def accuracy_by_kind(
    predicted: Sequence[int], answers: Sequence[int], kinds: Sequence[str]
) -> dict[str, float]:
    """Accuracy of each kind of question."""
    groups: dict[str, list[bool]] = {}
    for guess, answer, kind in zip(predicted, answers, kinds, strict=True):
        groups.setdefault(kind, []).append(guess == answer)
    return {kind: _percent(np.asarray(hits)) for kind, hits in sorted(groups.items())}


def grounding(
    answers: Mapping[str, int],
    predicted: Mapping[str, int],
    truth: Mapping[str, Sequence[Span]],
    spans: Mapping[str, Span],
) -> Grounding:
    """Score answers and spans; all questions of `truth` count, also those without a prediction."""
    if not truth:
        raise ValueError("expected at least one question")
    best = [
        np.max([(0.0, 0.0), *(overlap(spans[key], span) for span in truth[key])], axis=0)
        if key in spans
        else np.zeros(2)
        for key in truth
    ]
    iop, iou = np.asarray(best).T
    right = np.asarray([key in predicted and predicted[key] == answers[key] for key in truth])
    return Grounding(
        acc_qa=_percent(right),
        acc_gqa=_percent(right & (iop >= 0.5)),
        mean_iop=_percent(iop),
        mean_iou=_percent(iou),
        iop_at_03=_percent(iop >= 0.3),
        iop_at_05=_percent(iop >= 0.5),
        iou_at_03=_percent(iou >= 0.3),
        iou_at_05=_percent(iou >= 0.5),
        num_questions=len(truth),
        num_missing=sum(key not in spans for key in truth),
    )


def _percent(values: NDArray[np.generic]) -> float:
    return 100 * float(values.astype(np.float64).mean())
