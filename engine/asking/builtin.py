"""Answers without a language model: by what was trained for a model, or by similarity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.answering.answer import Answered, Asked, answer_all
from engine.answering.candidates import candidates
from engine.answering.declare import declare
from engine.answering.head import VectorReader
from engine.answering.patch_reader import PatchReader
from engine.answering.question_vector import Vectors, question_vector, support
from engine.answering.reread import STRETCHES, Places, answer_from_frames, cut, likeliest
from engine.answering.shown import ShownCurve, likeliness, settle
from engine.asking.asked import AskedQuestion
from engine.errors import NotFoundError, UsageError, VideoError
from engine.operators.base import Context
from engine.query import query
from engine.results import NOT_SHOWN, Answer, Claim, Follow, Moment, Outlook, Spending
from engine.search.refiner import Redecode
from engine.search.selection import select_frames
from engine.vision.backbone.preprocess import prepare

_CANDIDATES = 5  # videos that are asked where more are allowed
LOOKED = 3  # of them at most are looked at, each in one stretch
_AT_ONCE = 8  # pictures that are held while they are prepared to be looked at


@dataclass(frozen=True, slots=True)
class Heads:
    """What was trained to answer for a model: from stored vectors, and by looking at frames.

    The curve says how likely what was looked at shows what is asked.
    """

    reader: VectorReader | None = None
    patch_reader: PatchReader | None = None
    curve: ShownCurve | None = None


@dataclass(frozen=True, slots=True)
class SoughtVideo:
    """A video that is asked, with its stored frames."""

    video_id: int
    name: str
    asked: Asked
    frames: list[int]  # their numbers, in time order


@dataclass(slots=True)
class BuiltinSteps:
    """The steps of an answer out of choices, or out of common answers where none are given."""

    question: AskedQuestion
    heads: Heads
    _sought: list[SoughtVideo] = field(default_factory=list)
    _videos: int = 1  # that may be meant
    _stretches: int = 1  # of each video that are looked at
    _looked: int = 0

    def find(self, context: Context) -> Outlook:
        """Pick videos, and the stretches of them that their vectors speak for."""
        question = self.question
        if question.schema is not None:
            raise UsageError(
                "a schema needs a model that answers in words: set DEJAVU_LOOKER_URL or"
                " DEJAVU_LOOKER_LOCAL"
            )
        selection = select_frames(context, question.videos)
        if not selection.count:
            raise NotFoundError("no frames to answer from; ingest a video first")
        videos = list(selection.names)
        self._videos = len(videos)
        sought = sought_vector(context, question)
        if len(videos) > 1:
            videos = _likeliest(context, question, sought, videos)
            videos = videos if self.heads.patch_reader is None else videos[:LOOKED]
        self._stretches = STRETCHES if len(videos) == 1 else 1
        self._sought = [
            sought_in(context, video, selection.names[video], question) for video in videos
        ]
        moments = [
            moment for each in self._sought for moment in self._moments(context, each, sought)
        ]
        moments.sort(key=lambda moment: -moment.score)
        looks = self.heads.patch_reader is not None and context.redecode is not None
        frames = sum(
            len(cut(each.asked.seconds)[number])
            for each in self._sought
            for number in self._numbers(context, each)
        )
        return Outlook(moments, "builtin", Spending(0, frames if looks else 0))

    def look(self, context: Context, follow: Follow) -> Answer:  # noqa: ARG002  # says no words
        """Answer on each video; the likeliest answer is the one that is given."""
        question = self.question
        answers = answer_likeliest(
            context, question, self._sought, self.heads, self._stretches, self._videos
        )
        best = answers[0][1]
        self._looked = sum(answered.looked for _, answered in answers)
        evidence, claims = [], []
        if best.text != NOT_SHOWN:
            evidence = [_evidence(each, item) for each, item in answers if item.text == best.text]
            likely = best.confidence if best.looked else None
            why = "" if best.looked else "nothing was looked at"
            told = declare(question.text, best.text)
            claims = [Claim(told, "unverified", evidence[:1], likely, why)]
        return Answer(
            text=best.text,
            confidence=best.confidence,
            choice=best.choice if question.choices and best.text != NOT_SHOWN else None,
            evidence=evidence,
            scores=dict(zip(best.choices, best.probabilities, strict=True)),
            how=best.how,
            caution=context.caution,
            claims=claims,
        )

    def check(self, context: Context, claim: Claim) -> Claim:  # noqa: ARG002  # looked already
        """Confirm what is likelier right than not."""
        if claim.score is None:
            return claim
        return replace(claim, verdict="confirmed" if claim.score >= 0.5 else "rejected")

    def conclude(self, answer: Answer) -> Answer:
        """Add what was spent."""
        return replace(answer, cost=Spending(0, self._looked))

    def _numbers(self, context: Context, each: SoughtVideo) -> list[int]:
        stretches = cut(each.asked.seconds)
        return likeliest(each.asked, stretches, context.encoder.embed_texts, self._stretches)

    def _moments(self, context: Context, each: SoughtVideo, sought: Vectors) -> list[Moment]:
        """Return a video's stretches that are looked at, each with its best frame."""
        seconds, scores = each.asked.seconds, each.asked.frames @ sought
        stretches, found = cut(seconds), []
        for number in self._numbers(context, each):
            places = stretches[number]
            best = int(places[scores[places].argmax()])
            after = stretches[number + 1][0] if number + 1 < len(stretches) else None
            end = each.asked.duration_seconds if after is None else float(seconds[after])
            stop = float(seconds[places[-1]]) if end is None else end
            span = float(seconds[places[0]]), stop, float(seconds[best])
            found.append(Moment(each.video_id, each.name, *span, float(scores[best])))
        return found


def sought_vector(context: Context, question: AskedQuestion) -> Vectors:
    """Return what the question looks for."""
    choices = question.choices or candidates(question.text)
    return question_vector(question.text, choices, context.encoder.embed_texts)


def answer_likeliest(
    context: Context,
    question: AskedQuestion,
    sought: Sequence[SoughtVideo],
    heads: Heads,
    stretches: int,
    videos: int,
) -> list[tuple[SoughtVideo, Answered]]:
    """Answer on each video, the likeliest first; that answer's probabilities hold for them all.

    The order of the videos stands where nothing is looked at; one that cannot be seen comes last.
    """
    vector = sought_vector(context, question)
    told = []
    for each in sought:
        answered = answer_sought(context, each, heads, stretches)
        fits = support(each.asked.frames, vector)
        told.append((likeliness(heads.curve, answered, fits), each, answered))
    told.sort(key=lambda one: -one[0])
    likely, first, best = told[0]
    if heads.curve is not None and best.looked:
        best = settle(heads.curve, best, likely, videos)
    return [(first, best), *((each, answered) for _, each, answered in told[1:])]


def _likeliest(
    context: Context, question: AskedQuestion, sought: Vectors, asked: Sequence[int]
) -> list[int]:
    """Return the videos that the question may be about, the likeliest first.

    Nothing is made exact where no video has to be left out.
    """
    if len(asked) > _CANDIDATES:
        found = query(context, sought, top_k=_CANDIDATES, videos=question.videos, group_by="video")
        asked = [moment.video_id for moment in found.moments]
    supports = {}
    for video in asked:
        rows = context.store.rows(context.space, [video], ["row_id"])
        if rows.num_rows:  # a video in quarantine has none
            frames = context.store.vectors(context.space, rows.column("row_id").to_numpy())
            supports[video] = support(frames, sought)
    return sorted(supports, key=lambda video: -supports[video])


def sought_in(context: Context, video_id: int, name: str, question: AskedQuestion) -> SoughtVideo:
    """Return a video as it is asked."""
    names = ["row_id", "frame", "seconds"]
    rows = context.store.rows(context.space, [video_id], names).sort_by("seconds")
    asked = Asked(
        question.text,
        question.choices,
        rows.column("seconds").to_numpy(),
        context.store.vectors(context.space, rows.column("row_id").to_numpy()),
        context.store.catalog.video(video_id).duration_seconds,
    )
    return SoughtVideo(video_id, name, asked, rows.column("frame").to_pylist())


def answer_sought(
    context: Context, sought: SoughtVideo, heads: Heads, stretches: int = STRETCHES
) -> Answered:
    """Answer a question on one video: by looking at its frames again, else from their vectors."""
    embed, patch_reader, redecode = (
        context.encoder.embed_texts,
        heads.patch_reader,
        context.redecode,
    )
    blind, strength = "", 0.0
    if patch_reader is not None and redecode is None:
        blind = "; nothing decodes frames here, so nothing was looked at"
    elif patch_reader is not None and redecode is not None:
        shown = _Shown(patch_reader, redecode, sought.video_id, sought.frames)
        try:
            return answer_from_frames(sought.asked, shown, patch_reader, embed, stretches)
        except VideoError:
            blind, strength = "; the file cannot be read, so nothing was looked at", -math.inf
    answered = answer_all([sought.asked], embed, reader=heads.reader)[0]
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


def _evidence(sought: SoughtVideo, answered: Answered) -> Moment:
    span = answered.evidence
    return Moment(
        sought.video_id,
        sought.name,
        span.start_seconds,
        span.stop_seconds,
        span.peak_seconds,
        float(answered.relevance.max()),
    )
