"""The engine as a user holds it: ingest, query, sql, ask, explain."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from engine.answering.head import shipped_reader
from engine.answering.looker import shipped_looker
from engine.ask import Answer, Heads, ask, reply
from engine.background import background_of
from engine.cage.sandbox import Sandbox
from engine.config import Settings
from engine.errors import UsageError, unknown
from engine.ingest import (
    Decoder,
    IngestOptions,
    IngestReport,
    Progress,
    ensure,
    ingest,
    redecode,
    register,
)
from engine.operators.base import Context, Reply
from engine.query import GroupBy, QueryResult, query
from engine.search.context import Background, Range
from engine.search.options import Options
from engine.search.work import Embedded
from engine.sql import SqlResult, run_sql
from engine.storage.store import Store
from engine.vision.model import Model, load_model, pick_devices
from engine.vision.registry import find_parts


class Engine:
    """One data folder with one model; use as a context manager, or close it."""

    def __init__(self, settings: Settings, store: Store, model: Model) -> None:
        self.settings = settings
        self.store = store
        self.model = model
        self.space = model.space.key
        self._embedding = Lock()
        self._ingesting = False
        self._sandbox = Sandbox(
            memory=settings.sql_memory,
            threads=settings.threads,
            seconds=settings.sql_seconds,
            result=settings.sql_result,
            workers=settings.sql_workers,
        )
        if store.read_only:
            store.catalog.space(self.space)  # NotFoundError where nothing is embedded by this model
        else:
            store.catalog.add_space(model.space)
            store.catalog.use_space(self.space)

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
        """
        given = {"data": root, "model": model, "device": device, **settings}
        wrong = next((name for name in given if name not in Settings.model_fields), None)
        if wrong:
            raise UsageError(unknown("setting", wrong, Settings.model_fields))
        try:
            chosen = Settings(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            reason = f"setting {name}: {first['msg'].lower()}, got {first['input']!r}"
            raise UsageError(reason) from error
        loaded = load_model(
            chosen.model, device=chosen.device, revision=chosen.revision,
            precision=chosen.precision,
        )  # fmt: skip
        opened = Store.read(chosen.data) if read_only else Store.open(chosen.data)
        return cls(chosen, opened, loaded)

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the data folder back; the engine is unusable afterwards."""
        self._sandbox.close()
        self.store.close()

    def ingest(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        fps: float | None = None,
        strategy: str | None = None,
        max_drift: float | None = None,
        parts: Path | None = None,
        workers: int | None = None,
        decoder: Decoder | None = None,
        devices: str | None = None,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Embed videos and folders of videos; what is stored already costs nothing."""
        listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
        options = self.ingest_options(
            fps=fps,
            strategy=strategy,
            max_drift=max_drift,
            parts=parts,
            workers=workers,
            decoder=decoder,
            devices=devices,
        )
        with self._embedding:
            self._ingesting = True
            try:
                report = ingest(self.store, self.model, listed, options, progress)
            finally:
                self._ingesting = False
        decode = sum(video.decode_seconds for video in report.videos)
        encode = sum(video.encode_seconds for video in report.videos)
        self._note_rates(report.frames / options.fps, report.frames, decode, encode)
        return report

    def register(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Put videos on record without embedding them; queries embed what they need of them."""
        listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
        with self._embedding:
            return register(self.store, listed)

    def query(
        self,
        text: str | bytes,
        top_k: int = 10,
        videos: Sequence[int | str] | None = None,
        group_by: GroupBy = "moment",
        min_score: float | None = None,
        exact: bool | None = None,
        **options: Any,
    ) -> QueryResult:
        """Find the moments that fit a text, or an image's bytes."""
        given = options if exact is None else {**options, "exact": exact}
        return query(
            self._context(given),
            text,
            top_k=top_k,
            videos=videos,
            group_by=group_by,
            min_score=min_score,
            near_duplicate=self.settings.near_duplicate,
        )

    def sql(self, sql: str, /, *positional: Any, **named: Any) -> SqlResult:
        """Run a SELECT; `?` takes positional values, `$name` named ones."""
        return run_sql(self._context({}), sql, positional, named, max_rows=self.settings.sql_rows)

    def explain(self, sql: str, /, *positional: Any, analyze: bool = False, **named: Any) -> str:
        """Return the plan of a SELECT; with `analyze` run it and say what it really did."""
        result = run_sql(
            self._context({}),
            sql,
            positional,
            named,
            max_rows=self.settings.sql_rows,
            explain=True,
            analyze=analyze,
        )
        return result.explain

    def ask(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
    ) -> Answer:
        """Answer a question, out of choices where given, with the moments that support it."""
        return ask(self._context({}), question, choices, videos=videos, heads=self._heads)

    def ingest_options(
        self,
        *,
        fps: float | None = None,
        strategy: str | None = None,
        max_drift: float | None = None,
        parts: Path | None = None,
        workers: int | None = None,
        decoder: Decoder | None = None,
        devices: str | None = None,
    ) -> IngestOptions:
        """Return the settings of an ingest with some replaced."""
        return IngestOptions(
            fps=self.settings.fps if fps is None else fps,
            strategy=strategy or self.settings.strategy,
            max_drift=self.settings.max_drift if max_drift is None else max_drift,
            parts=find_parts(parts or self.settings.parts),
            workers=workers,
            decoder=decoder or self.settings.decoder,
            devices=pick_devices(self.settings.devices if devices is None else devices),
        )

    @cached_property
    def _background(self) -> Background:
        return background_of(self.settings.model)

    @cached_property
    def _heads(self) -> Heads:
        """What was trained to answer for the model, where it was."""
        return Heads(shipped_reader(self.model), shipped_looker(self.model))

    def _context(self, given: dict[str, Any]) -> Context:
        settings = self.settings
        options = Options(
            fps=settings.fps,
            strategy=settings.strategy,
            max_drift=settings.max_drift,
            exact=settings.exact,
            false_match_rate=settings.false_match_rate,
            gap_seconds=settings.gap_seconds,
        ).override(given)
        if options.exact and self.store.read_only:
            raise UsageError("exact is True, but rows are made exact only where they can be stored")
        return Context(
            store=self.store,
            space=self.space,
            encoder=self.model,
            sandbox=self._sandbox,
            background=lambda: self._background,
            embed=self._embed,
            respond=self._respond,
            redecode=None if self.store.read_only else self._redecode,
            options=options,
        )

    def _embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        chosen = self.ingest_options(
            fps=options.fps, strategy=options.strategy, max_drift=options.max_drift
        )
        # a query does not wait for an ingest, but answers from what is there
        if self._ingesting or self.store.read_only:
            return Embedded(complete=False)
        seconds = sum(part.stop_seconds - part.start_seconds for part in missing)
        with self._embedding:
            done = ensure(self.store, self.model, missing, chosen, options.budget_seconds)
        if done.complete:
            self._note_rates(seconds, done.frames, done.decode_seconds, done.encode_seconds)
        return done

    def _note_rates(self, seconds: float, frames: int, decode: float, encode: float) -> None:
        """Keep what decoding and encoding cost, for the planner's estimates."""
        if frames:
            rates = {"decode": decode / seconds, "encode": encode / frames}
            self.store.catalog.set_calibration(self.space, "rates", rates)

    def _redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        return redecode(self.store, self.space, video_id, frames)

    def _respond(
        self, video_id: int, question: str, choices: tuple[str, ...] | None
    ) -> Reply | None:
        return reply(self._context({}), video_id, question, choices, self._heads)
