"""The context of a query: its options, and what may be done for it on demand.

What takes seconds to import (the model, answering) is imported by what first needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
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
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.storage.store import Store

if TYPE_CHECKING:
    from engine.ask import Heads

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
        if options.exact and self._store.read_only:
            raise UsageError("exact is True, but rows are made exact only where they can be stored")
        return Context(
            reading=Reading(self._store, self._model.space),
            encoder=self._model,
            sandbox=self._sandbox,
            background=lambda: self._background,
            device=settings.device,
            content=knows(settings.model),
            caution=caution(settings.model),
            embed=embed,
            respond=lambda *asked: self._respond(embed, *asked),
            **self._others.reached(),
            redecode=self._redecode,
            options=options,
        )

    @cached_property
    def heads(self) -> "Heads":
        """What was trained to answer for the model, where it was."""
        from engine.answering.head import shipped_reader
        from engine.answering.patch_reader import shipped_patch_reader
        from engine.ask import Heads

        model = self._model.load()
        return Heads(shipped_reader(model), shipped_patch_reader(model))

    @cached_property
    def _background(self) -> Background:
        from engine.background import background_of

        return background_of(self._settings.model)

    def _redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        from engine.ingest import redecode

        return redecode(self._store, self._model.space, video_id, frames)

    def _respond(
        self, embed: Embed, video_id: int, question: str, choices: tuple[str, ...] | None
    ) -> Reply | None:
        from engine.ask import reply

        return self._replies.get(
            self._store,
            self._model.space,
            (video_id, question, choices),
            lambda: reply(self.make({}, embed), video_id, question, choices, self.heads),
        )
