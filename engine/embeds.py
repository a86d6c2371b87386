"""What embeds: a data folder with one model, before anything is asked of it."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self

from engine.arguments import checks_arguments
from engine.cage.sandbox import Sandbox
from engine.config import Settings
from engine.contexts import QueryContexts
from engine.errors import ModelError
from engine.ingesting.discover import Found
from engine.library import Library
from engine.loading import ModelBeside, ModelFiles, ModelOnDemand
from engine.objects.address import Address, Place
from engine.operators.base import Context
from engine.search.context import Range
from engine.search.options import Options
from engine.search.work import Embedded
from engine.storage.records import CellValue
from engine.storage.store import Store

if TYPE_CHECKING:
    from engine.deepen import Deepened, DeepenReport
    from engine.ingesting.forecast import Forecast
    from engine.ingesting.report import Coverage, Decoder, IngestOptions, IngestReport, Progress
    from engine.migrating import MigrationReport
    from engine.vision.model import Model

log = logging.getLogger(__name__)
_SAID_FROM = 60.0  # seconds of video that a query embeds


@checks_arguments
class Embeds(Library):
    """A library whose videos one model embeds."""

    def __init__(self, settings: Settings, store: Store, model: ModelOnDemand) -> None:
        sandbox = Sandbox(
            memory=settings.sql_memory,
            threads=settings.threads,
            seconds=settings.sql_seconds,
            result=settings.sql_result,
            workers=settings.sql_workers,
        )
        super().__init__(store, sandbox)
        self.settings = settings
        self._model = model
        self._contexts = QueryContexts(settings, store, sandbox, model)
        self._embedding = Lock()
        self._ingesting = False
        self._beside: dict[str, QueryContexts] = {}  # of other spaces

    def close(self) -> None:
        """Give the data folder back; nothing can be asked afterwards."""
        for contexts in (self._contexts, *self._beside.values()):
            contexts.close()
        super().close()

    @property
    def model(self) -> "Model":
        """The model, loaded when it is first asked for."""
        return self._model.load()

    @property
    def space(self) -> str:
        """The key of the model's embedding space; it is known without loading the model."""
        return self._model.space

    def load(self) -> Self:
        """Load the model and start SQL's process now rather than with the first work for them."""
        self._sandbox.warm()
        self._model.load()
        return self

    def ingest(
        self,
        paths: str | Place | Sequence[str | Place | Found],
        *,
        fps: float | None = None,
        strategy: str | None = None,
        max_drift: float | Literal["none"] | None = None,
        parts: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        workers: int | None = None,
        decoder: "Decoder | None" = None,
        devices: str | None = None,
        decode_gate: bool | None = None,
        replace: bool = False,
        ray: str | None = None,
        apart: bool = False,
        coverage: "Coverage" = "all",
        columns: Mapping[str, CellValue] | None = None,
        progress: "Progress | None" = None,
    ) -> "IngestReport":
        """Embed videos and folders of videos; what is stored already costs nothing.

        On a CPU videos are decoded and encoded here, or `apart`: in a process of its own, of low
        priority, so that this one goes on answering. A coverage of "keys" embeds the first sampled
        frame of each group of pictures, and queries and `deepen` more; "none" registers. Stored
        rows that are finer than asked for are kept, unless they are to be replaced. `max_drift`
        bounds the mean drift of each video's rows; with "none" nothing is audited, and the report
        says that nothing is promised. `options` are the strategy's own; rows that are stored by the
        same strategy are kept whatever its options were.
        With `decode_gate` groups of pictures in which little changes stay undecoded, as bounded.
        `ray` is the address of a Ray cluster that decodes and encodes in this machine's place.
        `columns` are values in columns of your own (see `tag`) that the videos have from the start.
        """
        from engine.cluster.run import check_cluster
        from engine.cluster.unfinished import forget, note
        from engine.ingest import ingest
        from engine.ingesting.forecast import learn

        listed = [paths] if isinstance(paths, (str, Path, Address)) else list(paths)
        chosen = self.ingest_options(
            fps=fps,
            strategy=strategy,
            max_drift=max_drift,
            parts=parts,
            options=options,
            workers=workers,
            decoder=decoder,
            devices=devices,
            decode_gate=decode_gate,
            replace=replace,
            ray=ray,
            apart=apart,
            coverage=coverage,
            columns=columns,
        )
        self.store.catalog.set_values((), chosen.columns)  # what they cannot hold is said now
        check_cluster(chosen)
        asked = {
            "fps": chosen.fps,
            "strategy": chosen.strategy,
            "max_drift": "none" if chosen.max_drift is None else chosen.max_drift,
            "parts": None if parts is None else str(parts),
            "options": dict(chosen.options),
            "replace": replace,
            "coverage": coverage,
            "columns": dict(chosen.columns),
        }
        with self._embedding:
            self._ingesting = True
            try:
                if ray is not None:
                    note(self.store.layout.unfinished, listed, asked)
                report = ingest(self.store, self.model, listed, chosen, progress)
                if ray is not None and not report.interrupted:
                    forget(self.store.layout.unfinished)
            finally:
                self._ingesting = False
        learn(self._context({"strategy": chosen.strategy}), report.videos)
        return report

    def resume(self, ray: str, *, progress: "Progress | None" = None) -> "IngestReport":
        """Go on with the ingest on a cluster that broke off, by the same paths and options.

        No committed stretch is decoded or encoded again.
        """
        from engine.cluster.unfinished import unfinished

        paths, options = unfinished(self.store.layout.unfinished)
        return self.ingest(paths, ray=ray, progress=progress, **options)

    def forecast(
        self, paths: str | Place | Sequence[str | Place | Found], **options: Any
    ) -> "Forecast":
        """Tell what `ingest` with these options would do; nothing is loaded or written."""
        from engine.ingesting.forecast import BeforeIngest, forecast

        listed = [paths] if isinstance(paths, (str, Path, Address)) else list(paths)
        chosen = self.ingest_options(**options)
        known = BeforeIngest(self.store, self._model.known_space, self.settings.device)
        return forecast(listed, chosen, known)

    def migrate(
        self,
        to: str | None = None,
        *,
        source: str | None = None,
        remove: bool = False,
        apart: bool = False,
        progress: "Progress | None" = None,
    ) -> "MigrationReport":
        """Embed everything anew by the model `to`, then ask it from then on, in one step.

        `source` is the model or the space that videos are embedded by so far; without it, this
        engine's. With `remove` its rows go once queries have turned. Broken off, queries are
        answered as before, and the next call goes on where it stopped.
        """
        from engine.migrating import migrate
        from engine.side_by_side import find_space

        chosen, asked = self.settings, self._model
        if to is not None and to != chosen.model:
            chosen = chosen.model_copy(update={"model": to, "revision": None})
            asked = ModelOnDemand(ModelFiles.find(chosen), self.store)
        leaving = self.space if source is None else find_space(self.store, source).key
        options = self.ingest_options(apart=apart)
        with self._embedding:
            self._ingesting = True
            try:
                report = migrate(
                    self.store, leaving, asked.load(), options, remove=remove, progress=progress
                )
            finally:
                self._ingesting = False
        if report.switched and asked is not self._model:
            contexts = QueryContexts(chosen, self.store, self._sandbox, asked)
            self.settings, self._model, self._contexts = chosen, asked, contexts
        return report

    def register(self, paths: str | Place | Sequence[str | Place]) -> "IngestReport":
        """Put videos on record without embedding them; queries embed what they need of them."""
        from engine.ingest import register

        listed = [paths] if isinstance(paths, (str, Path, Address)) else list(paths)
        with self._embedding:
            return register(self.store, listed, self.settings.recorded_pattern)

    def deepen(
        self, *, seconds: float | None = None, progress: "Deepened | None" = None
    ) -> "DeepenReport":
        """Embed what coarse videos lack, most changed places first, for at most so many seconds."""
        from engine.deepen import deepen

        embed = partial(self._embed, options=Options())
        return deepen(self.store, self.space, embed, seconds=seconds, progress=progress)

    def ingest_options(
        self,
        *,
        fps: float | None = None,
        strategy: str | None = None,
        max_drift: float | Literal["none"] | None = None,
        parts: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        workers: int | None = None,
        decoder: "Decoder | None" = None,
        devices: str | None = None,
        decode_gate: bool | None = None,
        replace: bool = False,
        ray: str | None = None,
        apart: bool = False,
        coverage: "Coverage" = "all",
        columns: Mapping[str, CellValue] | None = None,
    ) -> "IngestOptions":
        """Return the settings of an ingest with some replaced."""
        from engine.ingesting.report import IngestOptions, bound_of
        from engine.vision.model import pick_devices
        from engine.vision.registry import find_trained

        bound = self.settings.max_drift if max_drift is None else max_drift
        return IngestOptions(
            fps=self.settings.fps if fps is None else fps,
            strategy=strategy or self.settings.strategy,
            max_drift=bound_of(bound),
            parts=find_trained(parts or self.settings.parts),
            options=options or {},
            workers=workers,
            decoder=decoder or self.settings.decoder,
            devices=pick_devices(self.settings.devices if devices is None else devices),
            decode_gate=self.settings.decode_gate if decode_gate is None else decode_gate,
            replace=replace,
            ray=ray,
            apart=apart,
            recorded_pattern=self.settings.recorded_pattern,
            coverage=coverage,
            columns=columns or {},
        )

    def _context_of(self, key: str, given: Mapping[str, Any]) -> Context:
        """Return what a query of a stored space runs with; of another model nothing is embedded."""
        if key == self.space:
            return self._context(given)
        if key not in self._beside:
            space = self.store.catalog.space(key)
            revision = None if space.revision == "local" else space.revision
            chosen = self.settings.model_copy(update={"model": space.model, "revision": revision})
            asked = ModelBeside(ModelFiles.find(chosen), self.store)
            if asked.space != key:
                raise ModelError(f"model {space.model!r} gives the space {asked.space}, not {key}")
            self._beside[key] = QueryContexts(chosen, self.store, self._sandbox, asked)
        return self._beside[key].make(given, lambda *_: Embedded(complete=False))

    def _context(self, given: Mapping[str, Any]) -> Context:
        return self._contexts.make(given, self._embed)

    def _embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        from engine.ingest import ensure

        chosen = self.ingest_options(
            fps=options.fps, strategy=options.strategy, max_drift=options.max_drift
        )
        # a query does not wait for an ingest, but answers from what is there
        if self._ingesting or self.store.read_only:
            return Embedded(complete=False)
        seconds = sum(part.stop_seconds - part.start_seconds for part in missing)
        limits = options.budget_seconds, options.embed_seconds
        if seconds > _SAID_FROM:
            log.warning(
                "embedding what is missing of %.0f s of video, for at most %.0f s; ingest embeds"
                " all",
                seconds,
                min((limit for limit in limits if limit is not None), default=inf),
            )
        with self._embedding:
            return ensure(self.store, self.model, missing, chosen, *limits, options.budget_frames)
