"""Answers in words by a model that sees: it is shown moments, and what it says is checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np

from engine.answering.chat import ChatTurn, SeeingModel, Tell, TurnPart, Wish, as_jpeg, silent
from engine.answering.draft import Draft, read_draft, request, schema_of_reply
from engine.answering.kept import AnswerFile, KeptModel
from engine.answering.look import Word, first_word
from engine.asking.asked import AskedQuestion
from engine.errors import ExecutionError, LimitError, LookerError, NotFoundError, VideoError
from engine.operators.base import Context
from engine.query import query
from engine.results import Answer, Claim, Follow, Moment, Outlook, SaidPiece, Spending, Verdict
from engine.search.selection import select_frames

T = TypeVar("T")
_MOMENTS: Final = 6  # that are shown at most
_OF_A_CLAIM: Final = 4  # pictures that it is held against
_AROUND: Final = 1.0  # seconds before and after a moment that belong to what is shown of it
_TOKENS: Final = 512  # of a reply at most
_WORDS: Final[tuple[Word, ...]] = ("yes", "no", "unclear")
_VERDICT: Final = Wish(most_tokens=8, of_use=lambda text: first_word(text, _WORDS) is not None)
_VERDICTS: Final[Mapping[Word | None, Verdict]] = {
    "yes": "confirmed",
    "no": "rejected",
    "unclear": "unverified",
    None: "unverified",
}
_CHECKED: Final = (
    "These pictures are frames of one video, in order{said}. Do they show that this is so: {claim}"
    "\nAnswer with one word: yes, no, or unclear."
)


@dataclass(slots=True)
class MeteredModel:
    """A model that is asked so often and shown so many pictures at most; it counts both."""

    model: SeeingModel
    most: Spending
    spent: Spending = field(default_factory=Spending)

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Reply, unless that would cost more than is allowed."""
        pictures = sum(part.picture is not None for turn in turns for part in turn.parts)
        spent = Spending(self.spent.calls + 1, self.spent.frames + pictures)
        if spent.calls > self.most.calls or spent.frames > self.most.frames:
            raise LimitError(
                f"{self.most.calls} calls or {self.most.frames} pictures are spent", kind="rows"
            )
        self.spent = spent
        return self.model.reply(turns, wish, tell)


@dataclass(frozen=True, slots=True)
class ShownMoment:
    """A moment with the frames of it that are looked at."""

    moment: Moment
    pictures: tuple[bytes, ...]


@dataclass(slots=True)
class SeeingSteps:
    """The steps of an answer by a model; a call for it, and one for each claim."""

    question: AskedQuestion
    model: SeeingModel
    kept: AnswerFile
    _found: list[tuple[Moment, list[int]]] = field(default_factory=list)  # with frames' numbers
    _shown: list[ShownMoment] = field(default_factory=list)
    _lost: int = 0  # moments whose files cannot be read
    _meter: MeteredModel | None = None

    def find(self, context: Context) -> Outlook:
        """Find moments by pictures and words, and choose frames of each."""
        question = self.question
        if context.redecode is None:
            raise ExecutionError("nothing decodes frames here, so nothing can be looked at")
        if not select_frames(context, question.videos).count:
            raise NotFoundError("no frames to answer from; ingest a video first")
        most = min(_MOMENTS, question.limits.frames)
        found = query(context, _sought(question), top_k=most, videos=question.videos).moments
        each = max(1, question.limits.frames // max(1, len(found)))
        chosen = [(moment, frames_of(context, moment, each)) for moment in found]
        self._found = [pair for pair in chosen if pair[1]]
        if not self._found:
            raise NotFoundError("no frames to answer from; ingest a video first")
        pictures = sum(len(frames) for _, frames in self._found)
        cost = Spending(question.limits.calls, _most_pictures(pictures, question.limits.calls))
        self._meter = MeteredModel(self.model, cost)
        return Outlook([moment for moment, _ in self._found], self.model.name, cost)

    def look(self, context: Context, follow: Follow) -> Answer:
        """Show the moments to the model and read what it says."""
        assert self._meter is not None
        for moment, frames in self._found:
            try:
                self._shown.append(_show(context, moment, frames))
            except VideoError as error:
                self._lost += 1
                if self._lost == len(self._found):
                    raise error
        question = self.question
        turns = [*_before(question), ChatTurn("user", tuple(_parts(question, self._shown)))]
        draft = self._draft(turns, follow)
        count = len(self._shown)
        claims = [
            Claim(text, "unverified", [self._shown[at].moment for at in places if at < count])
            for text, places in draft.claims
        ]
        cited = dict.fromkeys(at for _, places in draft.claims for at in places if at < count)
        looked = sum(len(shown.pictures) for shown in self._shown)
        lost = f"; {self._lost} moments cannot be read" if self._lost else ""
        return Answer(
            text=draft.text,
            confidence=0.0,
            choice=draft.choice,
            evidence=[self._shown[at].moment for at in cited],
            scores={},
            how=f"{self.model.name} looked at {looked} frames of {count} moments{lost}",
            claims=claims,
            data=draft.data,
        )

    def check(self, context: Context, claim: Claim) -> Claim:  # noqa: ARG002  # decoded already
        """Ask whether the frames of a claim's moments show it; what cannot be asked stays open."""
        assert self._meter is not None
        if not claim.moments:
            return replace(claim, said="it names no moment")
        shown = [each for each in self._shown if each.moment in claim.moments]
        lines = [each.moment.line for each in shown if each.moment.line]
        said = f'; in it is said: "{" / ".join(lines)}"' if lines else ""
        pictures = _spread([p for each in shown for p in each.pictures], _OF_A_CLAIM)
        asked = TurnPart(_CHECKED.format(said=said, claim=claim.text))
        turn = ChatTurn("user", (asked, *(TurnPart(picture=picture) for picture in pictures)))
        try:
            text = KeptModel(self._meter, self.kept).reply([turn], _VERDICT)
        except LimitError as error:
            return replace(claim, said=str(error))
        except ExecutionError as error:
            return replace(claim, said=f"not checked: {error}")
        word = first_word(text, _WORDS)
        return replace(claim, verdict=_VERDICTS[word], said=" ".join(text.split())[:80])

    def conclude(self, answer: Answer) -> Answer:
        """Add what was spent; an answer is as sure as the share of its claims that hold."""
        assert self._meter is not None
        confirmed = sum(claim.verdict == "confirmed" for claim in answer.claims)
        share = confirmed / len(answer.claims) if answer.claims else 0.0
        return replace(answer, confidence=share, cost=self._meter.spent)

    def _draft(self, turns: list[ChatTurn], follow: Follow) -> Draft:
        """Ask, and once more where the reply is not of the form that was asked for."""
        assert self._meter is not None
        question, model = self.question, KeptModel(self._meter, self.kept)
        form = None if question.schema is None else schema_of_reply(question.schema)
        wish = Wish(_TOKENS, form, self._is_draft)
        reply = model.reply(turns, wish, lambda text: follow(SaidPiece(text)))
        try:
            return read_draft(reply, question.choices, question.schema)
        except ValueError as error:
            if question.limits.calls < 2:
                raise self._no_answer(error) from error
            turns = [
                *turns,
                ChatTurn.of(reply, "assistant"),
                ChatTurn.of(f"That is not it: {error}."),
            ]
        follow(SaidPiece("\n"))
        reply = model.reply(turns, wish, lambda text: follow(SaidPiece(text)))
        try:
            return read_draft(reply, question.choices, question.schema)
        except ValueError as error:
            raise self._no_answer(error) from error

    def _is_draft(self, text: str) -> bool:
        try:
            read_draft(text, self.question.choices, self.question.schema)
        except ValueError:
            return False
        return True

    def _no_answer(self, error: ValueError) -> LookerError:
        return LookerError(f"{self.model.name} gave no answer: {error}", operator="Look")


def _sought(question: AskedQuestion) -> str:
    """Return what is looked for: of a later question of a session the one before it too."""
    return " ".join([*(each.question for each in question.before[-1:]), question.text])


def _most_pictures(first: int, calls: int) -> int:
    """Return how many pictures so many calls show at most; the first may have to be repeated."""
    return first + (max(first, _OF_A_CLAIM) + (calls - 2) * _OF_A_CLAIM if calls > 1 else 0)


def frames_of(context: Context, moment: Moment, count: int) -> list[int]:
    """Return the numbers of at most so many stored frames of a moment, spread over it."""
    rows = context.store.rows(context.space, [moment.video_id], ["frame", "seconds"])
    rows = rows.sort_by("seconds")
    seconds, frames = (rows.column(name).to_numpy() for name in ("seconds", "frame"))
    if not len(frames):
        return []
    start, stop = moment.start_seconds - _AROUND, moment.stop_seconds + _AROUND
    within = np.flatnonzero((seconds >= start) & (seconds < stop))
    if not len(within):
        within = np.array([np.abs(seconds - moment.peak_seconds).argmin()])
    return [int(frames[at]) for at in _spread(within.tolist(), count)]


def _show(context: Context, moment: Moment, frames: Sequence[int]) -> ShownMoment:
    """Decode the frames of a moment."""
    assert context.redecode is not None
    images = context.redecode(moment.video_id, frames)
    return ShownMoment(moment, tuple(as_jpeg(image) for image in images))


def _before(question: AskedQuestion) -> list[ChatTurn]:
    """Return what was said in a session, without its pictures."""
    return [
        turn
        for each in question.before
        for turn in (ChatTurn.of(each.question), ChatTurn.of(each.answer, "assistant"))
    ]


def _parts(question: AskedQuestion, shown: Sequence[ShownMoment]) -> Iterator[TurnPart]:
    """Yield the moments, each with its pictures and what is said in it, and then the question."""
    for number, each in enumerate(shown, start=1):
        moment = each.moment
        span = f"{moment.start_seconds:.1f} to {moment.stop_seconds:.1f} s"
        said = f'; in it is said: "{moment.line}"' if moment.line else ""
        yield TurnPart(f"Moment [{number}] of {moment.name}, {span}{said}:")
        yield from (TurnPart(picture=picture) for picture in each.pictures)
    yield TurnPart(request(question.text, question.choices, question.schema))


def _spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most so many, from the first to the last."""
    if len(items) <= count:
        return list(items)
    at = np.linspace(0, len(items) - 1, count) if count > 1 else [len(items) // 2]
    return [items[round(float(place))] for place in at]
