"""Answer a question: pick videos it may be about → look at each → return the best supported."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.answering.answer import Answered, Asked, answer_all
from engine.answering.candidates import candidates
from engine.answering.head import VectorReader
from engine.answering.patch_reader import PatchReader
from engine.answering.question_vector import question_vector, support
from engine.answering.reread import STRETCHES, Places, answer_from_frames
from engine.errors import NotFoundError, UsageError, VideoError
from engine.operators.base import Context, Reply
from engine.query import query
from engine.results import Answer as Answer
from engine.results import Moment
from engine.search.refiner import Redecode
from engine.search.selection import select_frames
from engine.vision.backbone.preprocess import prepare

_CANDIDATES = 5  # videos that are asked where more are allowed
LOOKED = 3  # of them at most are looked at, each in one stretch
_AT_ONCE = 8  # pictures that are held while they are prepared to be looked at


@dataclass(frozen=True, slots=True)
class Heads:
    """What was trained to answer for a model: from stored vectors, and by looking at frames."""

    reader: VectorReader | None = None
    patch_reader: PatchReader | None = None


def ask(
    context: Context,
    question: str,
    choices: Sequence[str] | None = None,
    *,
    videos: Sequence[int | str] | None = None,
    heads: Heads = Heads(),
) -> Answer:
    """Answer a question from the videos that fit it best."""
    if not question.strip():
        raise UsageError("the question is empty")
    _check_choices(choices)
    selection = select_frames(context, videos)
    if not selection.count:
        raise NotFoundError("no frames to answer from; ingest a video first")
    asked = list(selection.names)
    if len(asked) > 1:
        asked = _likeliest(context, question, choices, videos, asked)
        asked = asked if heads.patch_reader is None else asked[:LOOKED]
    stretches = STRETCHES if len(asked) == 1 else 1
    answers = [
        (video, answer_video(context, video, question, choices, heads, stretches))
        for video in asked
    ]
    # the likeliest video comes first where nothing is looked at, one that cannot be seen last
    answers.sort(key=lambda pair: -pair[1].strength)
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
        caution=context.caution,
    )


def _check_choices(choices: Sequence[str] | None) -> None:
    if choices is None:
        return
    if isinstance(choices, str):
        raise UsageError(f"choices are a list of texts, got one: {choices!r}")
    if len(choices) < 2:
        raise UsageError(f"{len(choices)} choice; allowed: none, or two and more")
    if not all(choice.strip() for choice in choices):
        raise UsageError("a choice is empty")
    if len(set(choices)) < len(choices):
        twice = next(choice for choice in choices if choices.count(choice) > 1)
        raise UsageError(f"the choice {twice!r} is given twice")


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
    sought = question_vector(question, choices or candidates(question), context.encoder.embed_texts)
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
    heads: Heads,
    stretches: int = STRETCHES,
) -> Answered:
    """Answer a question on one video: by looking at its frames again, else from their vectors."""
    names = ["row_id", "frame", "seconds"]
    rows = context.store.rows(context.space, [video_id], names).sort_by("seconds")
    asked = Asked(
        question,
        choices,
        rows.column("seconds").to_numpy(),
        context.store.vectors(context.space, rows.column("row_id").to_numpy()),
        context.store.catalog.video(video_id).duration_seconds,
    )
    embed, patch_reader, redecode = (
        context.encoder.embed_texts,
        heads.patch_reader,
        context.redecode,
    )
    blind, strength = "", 0.0
    if patch_reader is not None and redecode is None:
        blind = "; nothing decodes frames here, so nothing was looked at"
    elif patch_reader is not None and redecode is not None:
        shown = _Shown(patch_reader, redecode, video_id, rows.column("frame").to_pylist())
        try:
            return answer_from_frames(asked, shown, patch_reader, embed, stretches)
        except VideoError:
            blind, strength = "; the file cannot be read, so nothing was looked at", -math.inf
    answered = answer_all([asked], embed, reader=heads.reader)[0]
    return replace(answered, how=answered.how + blind, strength=strength)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Shows a video's stored frames to a patch reader, a few pictures at a time."""

    patch_reader: PatchReader
    redecode: Redecode
    video_id: int
    frames: Sequence[int]  # their numbers, in time order

    def __call__(self, places: Places) -> Tensor:
        """Decode frames and return their tokens."""
        numbers = [self.frames[place] for place in places]
        form = self.patch_reader.model.preprocessing
        prepared = [
            prepare(image, form)
            for start in range(0, len(numbers), _AT_ONCE)
            for image in self.redecode(self.video_id, numbers[start : start + _AT_ONCE])
        ]
        return self.patch_reader.see(torch.stack(prepared))


def reply(
    context: Context,
    video_id: int,
    question: str,
    choices: Sequence[str] | None,
    heads: Heads,
) -> Reply | None:
    """Answer as VIDEO_QA does: None where nothing of the video can be embedded."""
    if not select_frames(context, [video_id]).count:
        return None
    answered = answer_video(context, video_id, question, choices, heads)
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
