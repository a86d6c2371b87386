"""The three tasks of the field over a dataset's vectors: retrieval, answers, grounded answers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.answering.answer import Answered, answer
from engine.answering.choose import statements
from engine.answering.head import Reader
from engine.evaluation.datasets.base import Dataset, Question
from engine.evaluation.encodings import Drift, Encodings, Vectors, drift, stack_means
from engine.evaluation.metrics import (
    Grounding,
    Retrieval,
    accuracy,
    accuracy_by_kind,
    grounding,
    retrieval,
    video_to_text,
)
from engine.evaluation.report import Cell, Report

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
COLUMNS = (
    *("strategy", "R@1", "R@5", "R@10", "MdR", "acc", "Acc@GQA", "mIoP", "mIoU", "IoU@0.5"),
    *("drift", "drift p95", "reuse", "MACs ×", "time ×"),
)


@dataclass(frozen=True, slots=True)
class Scores:
    """What one strategy's vectors are worth; a task without annotations is None."""

    strategy: str
    text_to_video: Retrieval | None
    video_to_text: Retrieval | None
    accuracy: float | None
    accuracy_by_kind: dict[str, float]
    grounding: Grounding | None
    drift: Drift
    reuse: float
    macs_per_frame: float
    seconds_per_frame: float


def score(
    dataset: Dataset,
    encodings: Encodings,
    dense: Encodings,
    embed_texts: Embed,
    *,
    reader: Reader | None = None,
) -> Scores:
    """Run every task that the dataset is annotated for."""
    forward = backward = None
    if dataset.captions:
        forward, backward = _retrieve(dataset, encodings, embed_texts)
    known = _embedded(dataset.questions, embed_texts)
    answers = [
        _answer(question, encodings.videos[question.video], known, reader)
        for question in dataset.questions
    ]
    chosen, right = [a.choice for a in answers], [q.answer for q in dataset.questions]
    kinds = [question.kind for question in dataset.questions]
    return Scores(
        strategy=encodings.strategy,
        text_to_video=forward,
        video_to_text=backward,
        accuracy=accuracy(chosen, right) if right else None,
        accuracy_by_kind=accuracy_by_kind(chosen, right, kinds),
        grounding=_ground(dataset.questions, answers),
        drift=drift(encodings, dense),
        reuse=encodings.reuse,
        macs_per_frame=encodings.macs_per_frame,
        seconds_per_frame=encodings.seconds_per_frame,
    )


def tabulate(title: str, scores: Sequence[Scores], notes: tuple[str, ...] = ()) -> Report:
    """One row a strategy; costs are relative to the first one, which is dense."""
    base = scores[0]
    rows = [
        [
            found.strategy,
            *_ranks(found.text_to_video),
            found.accuracy,
            *_spans(found.grounding),
            found.drift.mean,
            found.drift.p95,
            found.reuse,
            base.macs_per_frame / found.macs_per_frame,
            base.seconds_per_frame / found.seconds_per_frame,
        ]
        for found in scores
    ]
    data: dict[str, Any] = {"scores": [asdict(found) for found in scores]}
    return Report(title, COLUMNS, rows, notes, data)


def _ranks(found: Retrieval | None) -> list[Cell]:
    if found is None:
        return [None] * 4
    return [found.recall_at_1, found.recall_at_5, found.recall_at_10, found.median_rank]


def _spans(found: Grounding | None) -> list[Cell]:
    if found is None:
        return [None] * 4
    return [found.acc_gqa, found.mean_iop, found.mean_iou, found.iou_at_05]


def _embedded(questions: Sequence[Question], embed_texts: Embed) -> Embed:
    """Embed all questions' statements at once; the result looks them up."""
    texts = list(dict.fromkeys(t for q in questions for t in statements(q.text, q.choices)))
    places = {text: place for place, text in enumerate(texts)}
    vectors = embed_texts(texts)
    return lambda asked: vectors[[places[text] for text in asked]]


def _retrieve(
    dataset: Dataset, encodings: Encodings, embed_texts: Embed
) -> tuple[Retrieval, Retrieval]:
    names = list(dict.fromkeys(item.video for item in dataset.captions))
    truth = [names.index(item.video) for item in dataset.captions]
    texts = embed_texts([item.caption for item in dataset.captions])
    similarity = texts @ stack_means(encodings, names).T
    return retrieval(similarity, truth), video_to_text(similarity, truth)


def _answer(
    question: Question, video: Vectors, embed_texts: Embed, reader: Reader | None
) -> Answered:
    seconds, frames = video.seconds, video.frames
    if question.clip is not None:
        inside = (seconds >= question.clip[0]) & (seconds < question.clip[1])
        if not inside.any():  # shorter than the sampling interval: the frame shown then
            inside[max(int(np.searchsorted(seconds, question.clip[0], "right")) - 1, 0)] = True
        seconds, frames = seconds[inside], frames[inside]
    return answer(
        question.text,
        question.choices,
        seconds,
        frames,
        embed_texts,
        reader=reader,
        duration_seconds=video.duration_seconds if question.clip is None else question.clip[1],
    )


def _ground(questions: Sequence[Question], answers: Sequence[Answered]) -> Grounding | None:
    grounded = [(q, a) for q, a in zip(questions, answers, strict=True) if q.spans]
    if not grounded:
        return None
    return grounding(
        answers={q.key: q.answer for q, _ in grounded},
        predicted={q.key: a.choice for q, a in grounded},
        truth={q.key: q.spans for q, _ in grounded},
        spans={q.key: (a.evidence.start_seconds, a.evidence.stop_seconds) for q, a in grounded},
    )
