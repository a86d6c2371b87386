"""The engine as a user holds it: ingest, query, ask and sql, beside what is stored.

What takes seconds to import (the model, ingesting, answering) is imported by what first needs it.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self

from engine.arguments import checks_arguments
from engine.cage.sandbox import Sandbox
from engine.config import Settings, read_settings
from engine.contexts import QueryContexts
from engine.ingesting.discover import Found
from engine.library import Library
from engine.loading import ModelFiles, ModelOnDemand
from engine.operators.base import Context
from engine.query import query
from engine.results import Answer, GroupBy, QueryResult
from engine.rows import SqlResult
from engine.search.context import Range
from engine.search.mixture import mixed_vector
from engine.search.options import Options
from engine.search.selection import select_videos
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.store import Store
from engine.where import videos_where

if TYPE_CHECKING:
    from engine.deepen import Deepened, DeepenReport
    from engine.ingesting.forecast import Forecast
    from engine.ingesting.report import Coverage, Decoder, IngestOptions, IngestReport, Progress
    from engine.vision.model import Model

log = logging.getLogger(__name__)
_SAID_FROM = 60.0  # seconds of video that a query embeds


@checks_arguments
class Engine(Library):
    """One data folder with one model; use as a context manager, or close it."""

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

    def __repr__(self) -> str:
        settings = self.settings
        return f"<Engine {self.store.layout.root}, model {settings.model} on {settings.device}>"

    @classmethod
    def open(
        cls,
        root: str | Path | None = None,
        model: str | None = None,
        device: str | None = None,
        *,
        read_only: bool = False,
        **settings: Any,
    ) -> Self:
        """Open or create a data folder; what is not given comes from `DEJAVU_…` or its default.

        `read_only` opens what was published last, beside a writer or where nothing can be written.
        A model or device that cannot be meant is refused here; the model is loaded when it is
        first needed, or by `load`.
        """
        chosen = read_settings({"data": root, "model": model, "device": device, **settings})
        files = ModelFiles.find(chosen)
        store = Store.read(chosen.data) if read_only else Store.open(chosen.data)
        return cls(chosen, store, ModelOnDemand(files, store))

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
        paths: str | Path | Sequence[str | Path | Found],
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
        apart: bool = False,
        coverage: "Coverage" = "all",
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
        """
        from engine.ingest import ingest
        from engine.ingesting.forecast import learn

        listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
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
            apart=apart,
            coverage=coverage,
        )
        with self._embedding:
            self._ingesting = True
            try:
                report = ingest(self.store, self.model, listed, chosen, progress)
            finally:
                self._ingesting = False
        learn(self._context({"strategy": chosen.strategy}), report.videos)
        return report

    def forecast(
        self, paths: str | Path | Sequence[str | Path | Found], **options: Any
    ) -> "Forecast":
        """Tell what `ingest` with these options would do; nothing is loaded or written."""
        from engine.ingesting.forecast import BeforeIngest, forecast

        listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
        chosen = self.ingest_options(**options)
        known = BeforeIngest(self.store, self._model.known_space, self.settings.device)
        return forecast(listed, chosen, known)

    def register(self, paths: str | Path | Sequence[str | Path]) -> "IngestReport":
        """Put videos on record without embedding them; queries embed what they need of them."""
        from engine.ingest import register

        listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
        with self._embedding:
            return register(self.store, listed, self.settings.recorded_pattern)

    def deepen(
        self, *, seconds: float | None = None, progress: "Deepened | None" = None
    ) -> "DeepenReport":
        """Embed what coarse videos lack, most changed places first, for at most so many seconds."""
        from engine.deepen import deepen

        embed = partial(self._embed, options=Options())
        return deepen(self.store, self.space, embed, seconds=seconds, progress=progress)

    def query(
        self,
        text: str | bytes,
        top_k: int = 10,
        videos: Sequence[int | str] | None = None,
        group_by: GroupBy = "moment",
        min_score: float | None = None,
        exact: bool | None = None,
        mix: Mapping[str, float] | None = None,
        where: str | None = None,
        **options: Any,
    ) -> QueryResult:
        """Find the moments that fit a text, or an image's bytes.

        `mix` adds other texts by their weights; a negative one leads away. `where` is a condition
        on columns of `videos`, an expression of SQL: those alone are looked at.
        """
        given = options if exact is None else {**options, "exact": exact}
        context = self._context(given)
        return query(
            context,
            mixed_vector(context, text, mix) if mix else text,
            top_k=top_k,
            videos=self._chosen(videos, where),
            group_by=group_by,
            min_score=min_score,
            near_duplicate=self.settings.near_duplicate,
        )

    def sql(
        self, sql: str, /, *positional: Any, options: Mapping[str, Any] | None = None, **named: Any
    ) -> SqlResult:
        """Run a SELECT; `?` takes positional values, `$name` named ones.

        `options` are those of the statement's own OPTIONS, which come before them.
        """
        context = self._context(options or {})
        return run_sql(context, sql, positional, named, max_rows=self.settings.sql_rows)

    def explain(
        self,
        sql: str,
        /,
        *positional: Any,
        analyze: bool = False,
        form: Literal["text", "json"] = "text",
        options: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> str:
        """Return the plan of a SELECT; with `analyze` run it and say what it really did.

        As JSON it is what `POST /explain` gives, for programs.
        """
        result = run_sql(
            self._context(options or {}),
            sql,
            positional,
            named,
            max_rows=self.settings.sql_rows,
            explain=True,
            analyze=analyze,
            form=form,
        )
        return result.explain

    def ask(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
        where: str | None = None,
    ) -> Answer:
        """Answer a question, out of choices where given, with the moments that support it."""
        from engine.ask import ask

        chosen = self._chosen(videos, where)
        return ask(self._context({}), question, choices, videos=chosen, heads=self._contexts.heads)

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
        apart: bool = False,
        coverage: "Coverage" = "all",
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
            apart=apart,
            recorded_pattern=self.settings.recorded_pattern,
            coverage=coverage,
        )

    def _chosen(
        self, videos: Sequence[int | str] | None, where: str | None
    ) -> Sequence[int | str] | None:
        """Return the videos that are meant and meet a condition, where there is one."""
        if where is None:
            return videos
        meeting = videos_where(self.store, self._sandbox, where)
        if videos is None:
            return meeting
        meant = {video.video_id for video in select_videos(self.store, videos)}
        return [video_id for video_id in meeting if video_id in meant]

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
