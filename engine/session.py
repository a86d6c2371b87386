"""The engine as a user holds it: ingest, query, ask and sql, beside what is stored.

What takes seconds to import (the model, ingesting, answering) is imported by what first needs it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from engine.arguments import checks_arguments
from engine.config import read_settings
from engine.embeds import Embeds
from engine.loading import ModelFiles, ModelOnDemand
from engine.operators.base import Context
from engine.pictured import pictured
from engine.query import check_query, query, read_signals
from engine.results import Answer, Follow, GroupBy, Outlook, QueryResult, Signal, unfollowed
from engine.rows import SqlResult
from engine.search.mixture import mixed_vector
from engine.search.null import MeasuredNull, measured_null
from engine.search.scores import subject_vector
from engine.search.selection import found_of, select_names
from engine.sharding.inquiry import Inquiry, QuerySought, name_of
from engine.side_by_side import DEEPER, find_space, merge
from engine.sql import run_sql
from engine.storage.store import Store
from engine.where import videos_where


@checks_arguments
class Engine(Embeds):
    """One data folder with one model; use as a context manager, or close it."""

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
        signals: Sequence[Signal] | None = None,
        spaces: Sequence[str] | None = None,
        **options: Any,
    ) -> QueryResult:
        """Find the moments that fit a text, or an image's bytes.

        `mix` adds other texts by their weights; a negative one leads away. `where` is a condition
        on columns of `videos`, an expression of SQL: those alone are looked at. `signals`: by
        pictures, by words that are said, or by both, as where nothing is given. `spaces`, by
        their keys or models, are all asked; their moments are joined on time by rank.
        """
        given = options if exact is None else {**options, "exact": exact}
        chosen = self._chosen(videos, where)

        def ask(context: Context, count: int, signals: Sequence[Signal] | None) -> QueryResult:
            return query(
                context,
                mixed_vector(context, text, mix) if mix else text,
                top_k=count,
                videos=chosen,
                group_by=group_by,
                min_score=min_score,
                near_duplicate=self.settings.near_duplicate,
                signals=signals,
            )

        if spaces is None:
            found = ask(self._context(given), top_k, signals)
        else:
            keys = [find_space(self.store, each).key for each in spaces]
            rankings: dict[str, QueryResult] = {}
            for key in dict.fromkeys(keys):  # what is said is said once
                sought = ("image",) if rankings else signals
                rankings[key] = ask(self._context_of(key, given), DEEPER * top_k, sought)
            found = merge(rankings, top_k, by_video=group_by == "video")
        return found.drawn_by(partial(pictured, found.moments, self))

    def begin_inquiry(
        self,
        text: str | bytes,
        top_k: int = 10,
        videos: Sequence[int | str] | None = None,
        group_by: GroupBy = "moment",
        min_score: float | None = None,
        mix: Mapping[str, float] | None = None,
        where: str | None = None,
        signals: Sequence[Signal] | None = None,
        **options: Any,
    ) -> Inquiry:
        """Begin a query of which this store is one shard; who asks all of them merges.

        Names and ids of videos that are not here are left out: another shard may have them.
        """
        check_query(text, top_k, group_by, min_score)
        context = self._context(options)
        found = None if videos is None else found_of(self.store, videos)
        chosen = self._chosen(None if found is None else found[0], where)
        by_image, by_words = read_signals(signals, b"" if mix else text, group_by)
        subject: str | bytes | NDArray[np.float32] = text
        vector = None
        if by_image:
            vector = subject_vector(context, text)
            if mix:
                subject = vector = mixed_vector(context, text, mix)
        sought = QuerySought(subject, top_k, group_by, min_score, by_image, by_words)
        ids = None if chosen is None else np.sort(np.asarray(chosen, np.int64))
        return Inquiry.begin(context, sought, vector, ids, [] if found is None else found[1])

    def snapshot(self) -> str:
        """Name what is stored at present: the same rows have the same name."""
        return name_of(self.store.view(self.space, vectors=False))

    def facts(self) -> dict[str, Any]:
        """Return whose store this is, its space, and the settings that decide what is found."""
        rules = ("near_duplicate", "gap_seconds", "false_match_rate", "exact", "fps")
        return {
            "identity": self.store.catalog.identity,
            "space": self.space,
            "rules": {name: getattr(self.settings, name) for name in rules},
        }

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
        *,
        schema: Mapping[str, Any] | None = None,
        session: str | None = None,
        max_calls: int | None = None,
        max_frames: int | None = None,
        follow: Follow = unfollowed,
    ) -> Answer:
        """Answer a question, out of choices where given, with the moments that support it.

        `follow` is called with each step as it is made, with the cost before it is spent. `session`
        is an earlier answer's, to ask on. With a model that sees, `schema` gives the answer's form
        (JSON Schema), `max_calls` and `max_frames` what is spent at most.
        """
        from engine.ask import ask, remember
        from engine.asking.asked import AskedQuestion

        most, kept = (max_calls, max_frames), self._contexts.kept
        asked = AskedQuestion.of(question, choices, self._chosen(videos, where), most, schema)
        asked = asked.within(session, kept)
        answer = ask(self._context({}), self._contexts.steps(asked), follow)
        return remember(kept, asked, answer)

    def foresee(
        self,
        question: str,
        choices: Sequence[str] | None = None,
        videos: Sequence[int | str] | None = None,
        where: str | None = None,
        *,
        max_calls: int | None = None,
        max_frames: int | None = None,
    ) -> Outlook:
        """Tell where `ask` would look and what that would cost at most; nothing is looked at."""
        from engine.asking.asked import AskedQuestion

        most = max_calls, max_frames
        asked = AskedQuestion.of(question, choices, self._chosen(videos, where), most)
        return self._contexts.steps(asked).find(self._context({}))

    def null(self) -> MeasuredNull | None:
        """Return how unrelated texts and frames score here, where a search has measured it."""
        return measured_null(self.store, self.space)

    def _chosen(
        self, videos: Sequence[int | str] | NDArray[np.int64] | None, where: str | None
    ) -> Sequence[int | str] | NDArray[np.int64] | None:
        """Return the videos that are meant and meet a condition, where there is one."""
        if where is None:
            return videos
        meeting = videos_where(self.store, self._sandbox, where)
        if videos is None:
            return meeting
        meant = select_names(self.store, videos)
        return meeting[np.isin(meeting, list(meant))]
