"""The context of a query: its options, and what may be done for it on demand.

What takes seconds to import (the model, answering) is imported by what first needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.cage.sandbox import Sandbox
from engine.config import Settings
from engine.errors import UsageError
from engine.knowledge import caution, knows
from engine.loading import ModelOnDemand
from engine.models_on_demand import ModelsOnDemand
from engine.operators.base import Context, Reply
from engine.operators.replies import Replies
from engine.search.context import Background, Range
from engine.search.inquiry import Asked
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.words import Spoken
from engine.search.work import AnswerWork, Embedded, Work
from engine.storage.store import Store
from engine.vision.backbone.named import parse_name

if TYPE_CHECKING:
    from engine.answering.chat import SeeingModel
    from engine.answering.kept import AnswerFile
    from engine.answering.look import Looker
    from engine.asking.asked import AskedQuestion, Steps
    from engine.asking.builtin import Heads

_MOST_LOOKED = 500_000  # frames of which is kept what was said
Embed = Callable[[Sequence[Range], Options], Embedded]


class QueryContexts:
    """Makes the contexts of one engine's queries; keeps what they load and the replies they got."""

    def __init__(
        self, settings: Settings, store: Store, sandbox: Sandbox, model: ModelOnDemand
    ) -> None:
        self._settings = settings
        self._store = store
        self._sandbox = sandbox
        self._model = model
        self._others = ModelsOnDemand(store, settings)
        self._replies = Replies()
        self._looked: dict[Asked, Any] = {}
        self._spoken = Spoken(store.transcripts)

    def make(self, given: Mapping[str, Any], embed: Embed) -> Context:
        """Return what a query with these options runs with; `embed` embeds what it lacks."""
        settings = self._settings
        options = Options(
            fps=settings.fps,
            strategy=settings.strategy,
            max_drift=settings.max_drift,
            exact=settings.exact,
            embed_seconds=settings.embed_seconds,
            false_match_rate=settings.false_match_rate,
            gap_seconds=settings.gap_seconds,
        ).override(given)
        if not options.bounds_refining:
            options = replace(options, refine_seconds=settings.refine_seconds)
        if options.exact and self._store.read_only:
            raise UsageError("exact is True, but rows are made exact only where they can be stored")
        if len(self._looked) > _MOST_LOOKED:
            self._looked = {}  # statements that run keep what they have
        work = Work()
        return Context(
            reading=Reading(self._store, self._model.space),
            encoder=self._model,
            sandbox=self._sandbox,
            background=lambda: self._background,
            device=settings.device,
            content=parse_name(settings.model).asked(knows(settings.model)),
            caution=caution(settings.model),
            embed=embed,
            work=work,
            respond=lambda *asked: self._respond(embed, work, *asked),
            is_answered=self._is_answered,
            **self._others.reached(),
            spoken=self._spoken.words,
            redecode=self._redecode,
            look=self._look,
            looked=self._looked,
            options=options,
            zones=settings.zones,
        )

    @cached_property
    def heads(self) -> "Heads":
        """What was trained to answer for the model, where it was."""
        from engine.answering.head import shipped_reader
        from engine.answering.patch_reader import shipped_patch_reader
        from engine.answering.shown import shipped_curve
        from engine.asking.builtin import Heads

        model = self._model.load()
        patch_reader = shipped_patch_reader(model)
        return Heads(shipped_reader(model), patch_reader, shipped_curve(model.space))

    @cached_property
    def _background(self) -> Background:
        from engine.background import background_of

        return background_of(self._settings.model)

    def _redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        from engine.ingest import redecode

        return redecode(self._store, self._model.space, video_id, frames)

    @cached_property
    def kept(self) -> "AnswerFile":
        """What models replied, and what was asked in sessions."""
        from engine.answering.kept import AnswerFile

        return AnswerFile(None if self._store.read_only else self._store.layout.answers)

    @cached_property
    def _seeing(self) -> "SeeingModel | None":
        """The model that was named to look; None where the built-in reader does."""
        from engine.answering.chat import PaidModel

        settings, key = self._settings, self._settings.looker_key
        if settings.looker_url is not None:
            from engine.answering.remote import ChatServer

            secret = None if key is None else key.get_secret_value()
            where = settings.looker_url, settings.looker_model
            return PaidModel(ChatServer(*where, secret, settings.looker_seconds))
        if settings.looker_local is not None:
            from engine.answering.local import LocalModel

            return PaidModel(LocalModel.load(settings.looker_local, device=settings.device))
        return None

    @cached_property
    def _looker(self) -> "Looker":
        """What looks at single pictures: the model that was named, else the built-in reader."""
        from engine.answering.kept import KeptModel
        from engine.answering.look import BuiltinLooker, ModelLooker

        if self._seeing is not None:
            return ModelLooker(KeptModel(self._seeing, self.kept), self._settings.looker_at_once)
        reader = self.heads.patch_reader
        if reader is None:
            raise UsageError(
                f"model {self._settings.model} has no reader of pictures for AI_FILTER and its"
                " kind; set DEJAVU_LOOKER_URL to an OpenAI-compatible model that sees, as"
                " http://localhost:8000/v1"
            )
        return BuiltinLooker(reader)

    def steps(self, question: "AskedQuestion") -> "Steps":
        """Return the steps by which a question is answered here."""
        from engine.asking.builtin import BuiltinSteps
        from engine.asking.seeing import SeeingSteps

        if self._seeing is None:
            return BuiltinSteps(question, self.heads)
        return SeeingSteps(question, self._seeing, self.kept)

    def close(self) -> None:
        """Close what is kept."""
        if "kept" in vars(self):
            self.kept.close()

    def _look(self, asked: Sequence[Asked]) -> list[Any]:
        """Decode the frames of what is asked, each once, and ask."""
        frames: dict[int, set[int]] = {}
        for sight, _ in asked:
            frames.setdefault(sight.video_id, set()).update(sight.frames)
        pictures = {
            (video, frame): image
            for video, wanted in frames.items()
            for frame, image in zip(
                sorted(wanted), self._redecode(video, sorted(wanted)), strict=True
            )
        }
        return self._looker.answers(
            [
                ([pictures[sight.video_id, frame] for frame in sight.frames], inquiry)
                for sight, inquiry in asked
            ]
        )

    def _respond(
        self,
        embed: Embed,
        work: Work,
        video_id: int,
        question: str,
        choices: tuple[str, ...] | None,
    ) -> Reply | None:
        from engine.ask import reply
        from engine.asking.asked import AskedQuestion

        def ask() -> Reply | None:
            begun = perf_counter()
            said = AskedQuestion(question, choices)
            found = reply(self.make({}, embed), video_id, said, self.heads)
            work.answers.append(AnswerWork(1, perf_counter() - begun))
            return found

        asked = (video_id, question, choices)
        return self._replies.get(self._store, self._model.space, asked, ask)

    def _is_answered(self, *asked: Any) -> bool:
        return self._replies.has(self._store, self._model.space, asked)
