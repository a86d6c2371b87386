"""A question's story: the videos it may be about → an answer of each → the one best supported."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.answering.answer import Answered, answer
from engine.answering.candidates import candidates
from engine.answering.head import Reader
from engine.answering.seek import seek, support
from engine.errors import NotFoundError, UsageError
from engine.operators.base import Context, Reply
from engine.query import Moment, query
from engine.selection import select_frames

_CANDIDATES = 5  # videos that are asked where more are allowed


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the moments that support it, and how the choices compare."""

    text: str
    confidence: float
    choice: int | None  # its number among the given choices
    evidence: list[Moment]
    scores: dict[str, float]  # probability per choice
    how: str


def ask(
    context: Context,
    question: str,
    choices: Sequence[str] | None = None,
    *,
    videos: Sequence[int | str] | None = None,
    reader: Reader | None = None,
) -> Answer:
    """Answer a question from the videos that fit it best."""
    if not question.strip():
        raise UsageError("the question is empty")
    if choices is not None and len(choices) < 2:
        raise UsageError(f"{len(choices)} choice; allowed: none, or two and more")
    selection = select_frames(context, videos)
    if not selection.count:
        raise NotFoundError("no frames to answer from; ingest a video first")
    asked = list(selection.names)
    if len(asked) > 1:
        asked = _likeliest(context, question, choices, videos, asked)
    answers = [(video, answer_video(context, video, question, choices, reader)) for video in asked]
    best = answers[0][1]
    return Answer(
        text=best.text,
        confidence=best.confidence,
        choice=best.choice if choices else None,
        evidence=[
            _evidence(video, selection.names[video], item)
            for video, item in answers
            if item.text == best.text
        ],
        scores=dict(zip(best.choices, best.probabilities, strict=True)),
        how=best.how,
    )


def _likeliest(
    context: Context,
    question: str,
    choices: Sequence[str] | None,
    videos: Sequence[int | str] | None,
    asked: Sequence[int],
) -> list[int]:
    """Return the videos that the question may be about, the likeliest first.

    Nothing is made exact where no video has to be left out.
    """
    sought = seek(question, choices or candidates(question), context.encoder.embed_texts)
    if len(asked) > _CANDIDATES:
        found = query(context, sought, top_k=_CANDIDATES, videos=videos, group_by="video")
        asked = [moment.video_id for moment in found.moments]
    supports = {}
    for video in asked:
        rows = context.store.rows(context.space, [video], ["row_id"])
        if rows.num_rows:  # a video in quarantine has none
            frames = context.store.vectors(context.space, rows.column("row_id").to_numpy())
            supports[video] = support(frames, sought)
    return sorted(supports, key=lambda video: -supports[video])


def answer_video(
    context: Context,
    video_id: int,
    question: str,
    choices: Sequence[str] | None,
    reader: Reader | None,
) -> Answered:
    """Answer a question on one video from its stored frames."""
    names = ["row_id", "seconds"]
    rows = context.store.rows(context.space, [video_id], names).sort_by("seconds")
    frames = context.store.vectors(context.space, rows.column("row_id").to_numpy())
    video = context.store.catalog.video(video_id)
    return answer(
        question,
        choices,
        rows.column("seconds").to_numpy(),
        frames,
        context.encoder.embed_texts,
        reader=reader,
        duration_seconds=video.duration_seconds,
    )


def reply(
    context: Context,
    video_id: int,
    question: str,
    choices: Sequence[str] | None,
    reader: Reader | None,
) -> Reply | None:
    """Answer as VIDEO_QA does: None where nothing of the video can be embedded."""
    if not select_frames(context, [video_id]).count:
        return None
    answered = answer_video(context, video_id, question, choices, reader)
    span = answered.evidence
    return Reply(answered.text, answered.confidence, span.start_seconds, span.stop_seconds)


def _evidence(video_id: int, name: str, answered: Answered) -> Moment:
    span = answered.evidence
    return Moment(
        video_id,
        name,
        span.start_seconds,
        span.stop_seconds,
        span.peak_seconds,
        float(answered.relevance.max()),
    )
