"""The three tasks of the field over a dataset's vectors: retrieval, answers, grounded answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.answering.answer import Answered, Asked, answer_all
from engine.answering.choose import statements
from engine.answering.head import VectorReader
from engine.evaluation.datasets.base import Dataset, Question
from engine.evaluation.encodings import Drift, Encodings, Vectors, drift, stack_means
from engine.evaluation.metrics import (
    Grounding,
    Retrieval,
    accuracy,
    accuracy_by_kind,
    grounding,
    overlap,
    ranks,
    retrieval,
    video_to_text,
)
from engine.evaluation.report import Cell, Report

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
ANSWERS = ("strategy", "R@1", "R@5", "R@10", "MdR", "acc", "Acc@GQA", "mIoP", "mIoU", "IoU@0.5")
COSTS = ("strategy", "drift", "drift p95", "reuse", "MACs ×", "CPU ×", "wall ×")


@dataclass(frozen=True, slots=True)
class Scores:
    """What one strategy's vectors are worth; a task without annotations is None."""

    strategy: str
    text_to_video: Retrieval | None
    video_to_text: Retrieval | None
    accuracy: float | None
    accuracy_by_kind: dict[str, float]
    num_questions: int
    grounding: Grounding | None
    drift: Drift
    reuse: float
    macs_per_frame: float
    seconds_per_frame: float  # by the clock
    cpu_seconds_per_frame: float


@dataclass(frozen=True, slots=True)
class Texts:
    """A dataset's captions and statements as vectors, embedded once for all strategies."""

    captions: NDArray[np.float32]  # [captions, E]
    statements: NDArray[np.float32]  # [texts, E]
    places: Mapping[str, int]  # of each statement

    def look_up(self, asked: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of statements, `[asked, E]`."""
        return self.statements[[self.places[text] for text in asked]]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of every caption and question, in the dataset's order."""

    retrieved: NDArray[np.bool_]  # captions whose video comes first
    right: NDArray[np.bool_]  # questions answered rightly
    grounded: NDArray[np.bool_]  # those whose span is half within a true one as well
    similarity: NDArray[np.float32]  # captions × videos
    answers: Sequence[Answered]


def embed_dataset(dataset: Dataset, embed_texts: Embed) -> Texts:
    """Embed all captions, and each statement of the questions once."""
    told = [t for q in dataset.questions for t in statements(q.text, q.choices)]
    places = {text: place for place, text in enumerate(dict.fromkeys(told))}
    captions = embed_texts([item.caption for item in dataset.captions])
    return Texts(captions, embed_texts(list(places)), places)


def outcomes(
    dataset: Dataset, encodings: Encodings, texts: Texts, reader: VectorReader | None
) -> Outcomes:
    """Run every task that the dataset is annotated for, item by item."""
    names = list(dict.fromkeys(item.video for item in dataset.captions))
    similarity = np.empty((0, 0), np.float32)
    retrieved = np.empty(0, np.bool_)
    if names:
        similarity = texts.captions @ stack_means(encodings, names).T
        retrieved = ranks(similarity, retrieval_truth(dataset, names))[0] < 1
    asked = [asked_of(each, encodings.videos[each.video]) for each in dataset.questions]
    answers = answer_all(asked, texts.look_up, reader=reader)
    right = [a.choice == q.answer for q, a in zip(dataset.questions, answers, strict=True)]
    spans = [_within(q, a) for q, a in zip(dataset.questions, answers, strict=True)]
    hits = np.asarray(right, np.bool_)
    return Outcomes(retrieved, hits, hits & np.asarray(spans, np.bool_), similarity, answers)


def score(
    dataset: Dataset,
    encodings: Encodings,
    dense: Encodings,
    texts: Texts,
    *,
    reader: VectorReader | None = None,
) -> Scores:
    """Sum up what comes of the tasks."""
    found = outcomes(dataset, encodings, texts, reader)
    forward = backward = None
    if dataset.captions:
        truth = retrieval_truth(
            dataset, list(dict.fromkeys(item.video for item in dataset.captions))
        )
        forward = retrieval(found.similarity, truth)
        backward = video_to_text(found.similarity, truth)
    chosen, right = [a.choice for a in found.answers], [q.answer for q in dataset.questions]
    kinds = [question.kind for question in dataset.questions]
    return Scores(
        strategy=encodings.strategy,
        text_to_video=forward,
        video_to_text=backward,
        accuracy=accuracy(chosen, right) if right else None,
        accuracy_by_kind=accuracy_by_kind(chosen, right, kinds),
        num_questions=len(right),
        grounding=_ground(dataset.questions, found.answers),
        drift=drift(encodings, dense),
        reuse=encodings.reuse,
        macs_per_frame=encodings.macs_per_frame,
        seconds_per_frame=encodings.seconds_per_frame,
        cpu_seconds_per_frame=encodings.cpu_seconds_per_frame,
    )


def tabulate(title: str, scores: Sequence[Scores], notes: tuple[str, ...] = ()) -> Report:
    """Answers, then costs, a row a strategy; costs are relative to the first, which is dense."""
    answers = [
        [
            found.strategy,
            *_ranks(found.text_to_video),
            _rounded(found.accuracy),
            *_spans(found.grounding),
        ]
        for found in scores
    ]
    data: dict[str, Any] = {"scores": [asdict(found) for found in scores]}
    costs = Report("What it costs", COSTS, [_costs(found, scores[0]) for found in scores])
    return Report(title, ANSWERS, answers, notes, data, (costs,))


def _costs(found: Scores, base: Scores) -> list[Cell]:
    return [
        found.strategy,
        round(found.drift.mean, 4),
        round(found.drift.p95, 4),
        round(found.reuse, 3),
        round(base.macs_per_frame / found.macs_per_frame, 2),
        round(base.cpu_seconds_per_frame / found.cpu_seconds_per_frame, 2),
        round(base.seconds_per_frame / found.seconds_per_frame, 2),
    ]


def _ranks(found: Retrieval | None) -> list[Cell]:
    if found is None:
        return [None] * 4
    recalls = (found.recall_at_1, found.recall_at_5, found.recall_at_10)
    return [*map(_rounded, recalls), found.median_rank]


def _spans(found: Grounding | None) -> list[Cell]:
    if found is None:
        return [None] * 4
    return [*map(_rounded, (found.acc_gqa, found.mean_iop, found.mean_iou, found.iou_at_05))]


def _rounded(percent: float | None) -> Cell:
    return None if percent is None else round(percent, 1)


def retrieval_truth(dataset: Dataset, names: Sequence[str]) -> list[int]:
    """Place of each caption's video among the names."""
    places = {name: place for place, name in enumerate(names)}
    return [places[item.video] for item in dataset.captions]


def asked_of(question: Question, video: Vectors) -> Asked:
    """Ask a question of the frames that it is about."""
    seconds, frames = video.seconds, video.frames
    if question.clip is not None:
        inside = (seconds >= question.clip[0]) & (seconds < question.clip[1])
        if not inside.any():  # shorter than the sampling interval: the frame shown then
            inside[max(int(np.searchsorted(seconds, question.clip[0], "right")) - 1, 0)] = True
        seconds, frames = seconds[inside], frames[inside]
    end = video.duration_seconds if question.clip is None else question.clip[1]
    return Asked(question.text, question.choices, seconds, frames, end)


def _within(question: Question, answered: Answered) -> bool:
    """Whether half of the evidence lies within a span that answers the question."""
    said = (answered.evidence.start_seconds, answered.evidence.stop_seconds)
    return any(overlap(said, span)[0] >= 0.5 for span in question.spans)


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
