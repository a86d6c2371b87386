"""Trained heads beside what the engine does without them, on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.answering.answer import Answered
from engine.answering.choose import statements
from engine.answering.ground import overlap
from engine.answering.head import VectorReader
from engine.answering.span_head import Evidence, SpanReader, reground
from engine.evaluation.datasets.base import Dataset, Question
from engine.evaluation.encodings import Encodings
from engine.evaluation.metrics import ranks
from engine.evaluation.paired import NORMAL_95, Paired, compare_paired
from engine.evaluation.report import Cell, Report
from engine.evaluation.tasks import Texts, asked_of, outcomes, retrieval_truth
from engine.search.sequence import SequencePooler

RETRIEVAL = ("strategy", "mean R@1", "head R@1", "gain", "mean R@5", "head R@5")
EVIDENCE = (
    *("strategy", "mIoU", "head", "gain", "Acc@GQA", "head's", "gain of it"),
    *("acc, IoU ≥ .5", "by head", "gain there"),
)


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """What is judged beside the mean of frames and the peak of relevance; None: nothing."""

    sequence: SequencePooler | None = None
    spans: SpanReader | None = None

    def compare(
        self,
        dataset: Dataset,
        encodings: Mapping[str, Encodings],
        texts: Texts,
        reader: VectorReader | None,
    ) -> tuple[Report, ...]:
        """Return a table for each head that the dataset has a task for."""
        found = []
        if self.sequence is not None and dataset.captions:
            found.append(_compare_pooling(self.sequence, dataset, encodings, texts))
        if self.spans is not None and any(each.spans for each in dataset.questions):
            found.append(_compare_spans(self.spans, dataset, encodings, texts, reader))
        return tuple(found)


def _compare_pooling(
    pooler: SequencePooler, dataset: Dataset, encodings: Mapping[str, Encodings], texts: Texts
) -> Report:
    names = list(dict.fromkeys(item.video for item in dataset.captions))
    truth = retrieval_truth(dataset, names)
    captioned = [item.video for item in dataset.captions]
    rows: list[list[Cell]] = []
    data: dict[str, Any] = {}
    for label, found in encodings.items():
        videos = [found.videos[name] for name in names]
        pooled = pooler.pool([v.frames for v in videos], [v.lengths for v in videos])
        ways = (np.stack([each.mean for each in videos]), pooled)
        placed = [ranks(texts.captions @ each.T, truth)[0] for each in ways]
        first = compare_paired(placed[1] < 1, placed[0] < 1, captioned)
        five = compare_paired(placed[1] < 5, placed[0] < 5, captioned)
        rows.append([label, *_told(first), round(five.dense, 1), round(five.score, 1)])
        data[label] = {"R@1": asdict(first), "R@5": asdict(five)}
    notes = (f"percent of {len(captioned):,} captions; gains with 95 % of the pairs",)
    return Report("Retrieval by a sequence head", RETRIEVAL, rows, notes, data)


def _compare_spans(
    spans: SpanReader,
    dataset: Dataset,
    encodings: Mapping[str, Encodings],
    texts: Texts,
    reader: VectorReader | None,
) -> Report:
    at = [place for place, each in enumerate(dataset.questions) if each.spans]
    questions = [dataset.questions[place] for place in at]
    videos = [question.video for question in questions]
    rows: list[list[Cell]] = []
    data: dict[str, Any] = {}
    for label, found in encodings.items():
        answers = outcomes(dataset, found, texts, reader).answers
        now = [answers[place] for place in at]
        evidence = [
            _evidence(question, said, found, texts)
            for question, said in zip(questions, now, strict=True)
        ]
        ours, theirs = (
            _grounded(questions, said) for said in (reground(now, evidence, spans), now)
        )
        figures = {
            name: compare_paired(ours[name], theirs[name], videos)
            for name in ("mIoU", "Acc@GQA", "acc, IoU >= .5")
        }
        rows.append([label, *(cell for each in figures.values() for cell in _told(each))])
        data[label] = {name: asdict(each) for name, each in figures.items()}
    notes = (
        f"percent of {len(at):,} questions; Acc@GQA: right, and half of the span within a true one;"
        " IoU is over the hull; gains with 95 % over videos",
    )
    return Report("Evidence by a span head", EVIDENCE, rows, notes, data)


def _evidence(question: Question, said: Answered, found: Encodings, texts: Texts) -> Evidence:
    """What the head is asked: the question with the answer that was chosen."""
    asked = asked_of(question, found.videos[question.video])
    [statement] = texts.look_up([statements(question.text, question.choices)[said.choice]])
    end = asked.duration_seconds
    assert end is not None
    return Evidence(asked.seconds, asked.frames, statement, end)


def _grounded(
    questions: Sequence[Question], answers: Sequence[Answered]
) -> dict[str, NDArray[np.float64]]:
    """Of each question its best overlap, and whether a right answer is grounded, by two rules."""
    best = []
    for question, said in zip(questions, answers, strict=True):
        span = (said.evidence.start_seconds, said.evidence.stop_seconds)
        best.append(np.max([overlap(span, true) for true in question.spans], axis=0))
    within, iou = np.asarray(best).T
    right = np.array([a.choice == q.answer for q, a in zip(questions, answers, strict=True)])
    return {
        "mIoU": iou,
        "Acc@GQA": (right & (within >= 0.5)).astype(np.float64),
        "acc, IoU >= .5": (right & (iou >= 0.5)).astype(np.float64),
    }


def _told(paired: Paired) -> list[Cell]:
    """Without the head, with it, and the difference with its interval."""
    gain = f"{paired.score - paired.dense:+.1f} ±{NORMAL_95 * paired.error:.1f}"
    return [round(paired.dense, 1), round(paired.score, 1), gain]
