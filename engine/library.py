"""A data folder without a model: its videos and what they look like, jobs, spaces, indexes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from engine.arguments import checks_arguments
from engine.cage.sandbox import Sandbox
from engine.closing import Closing
from engine.errors import check_limit, check_target
from engine.objects.address import place_of
from engine.search.selection import select_names, select_videos
from engine.storage.completeness import State, VideoCompleteness
from engine.storage.indexing import IndexStatus
from engine.storage.jobs import JobRecords
from engine.storage.layout import Layout
from engine.storage.records import (
    CellValue,
    ColumnKind,
    Job,
    JobStatus,
    StoredSpace,
    Transcript,
    Video,
    VideoStatus,
)
from engine.storage.standing import StandingQuery
from engine.storage.store import Store
from engine.storage.verify import StoreProblem
from engine.where import videos_where

if TYPE_CHECKING:
    from engine.activity import Activity
    from engine.footage import Footage
    from engine.ingesting.discover import Found
    from engine.ingesting.transcribe import Taken


@checks_arguments
class Library(Closing):
    """The calls that need no model; every one may come from any thread.

    Use as a context manager, or close it.
    """

    def __init__(self, store: Store, sandbox: Sandbox | None = None) -> None:
        self.store = store
        self._sandbox = sandbox or Sandbox()

    @classmethod
    def open(cls, root: str | Path, *, read_only: bool = False) -> Self:
        """Open or create a data folder.

        `read_only` opens what was published last, beside a writer or where nothing can be written.
        """
        return cls(Store.read(Path(root)) if read_only else Store.open(Path(root)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.store.layout.root}>"

    def close(self) -> None:
        """Give the data folder back; nothing can be asked afterwards."""
        self._sandbox.close()
        self.store.close()

    # videos

    def videos(
        self,
        pattern: str | None = None,
        *,
        after: int = 0,
        limit: int | None = None,
        where: str | None = None,
    ) -> list[Video]:
        """Return the videos by id, those only whose name is or matches a glob where one is given.

        `limit` gives a page of so many, those whose ids come `after` one; `where` is a condition on
        columns of `videos`, an expression of SQL.
        """
        if where is None:
            return self.store.catalog.videos(pattern, after=after, limit=limit)
        check_limit(limit)
        meant = set(videos_where(self.store, self._sandbox, where).tolist())
        found = self.store.catalog.videos(pattern, after=after)
        return [video for video in found if video.video_id in meant][:limit]

    def video_ids(self, pattern: str | None = None) -> list[int]:
        """Return the ids alone of what `videos` returns: of a hundred thousand at once."""
        return self.store.catalog.video_ids(pattern)

    def video(self, video: int | str) -> Video:
        """Return a video by its id or one of its names."""
        return self.store.catalog.video(video)

    def quarantined(self) -> "list[Found]":
        """Return the files that could not be used, by the names they have, to be tried again."""
        from engine.ingesting.discover import Found

        videos = self.store.catalog.videos()
        return [Found(place_of(v.path), v.name) for v in videos if v.status == "quarantined"]

    def count_by_status(self) -> dict[VideoStatus, int]:
        """Return how many videos have each status."""
        return self.store.catalog.count_by_status()

    def tag(
        self,
        videos: int | str | Sequence[int | str],
        values: Mapping[str, CellValue],
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> list[Video]:
        """Give videos, by ids, names or globs, values in columns of your own; return them.

        None takes a value away. A column that is not there is made: of text, number, bool or
        timestamp as its value is, or as `kinds` says. `recorded_at` is set in the same way.
        """
        listed = [videos] if isinstance(videos, (int, str)) else videos
        meant = list(select_names(self.store, listed))
        self.store.catalog.set_values(meant, values, kinds)
        return self.store.catalog.videos_of(meant)

    def columns(self) -> dict[str, ColumnKind]:
        """Return the columns that users have added to videos, with their kinds."""
        return self.store.catalog.columns()

    def drop_column(self, name: str) -> None:
        """Remove a column that users have added, with all of its values."""
        self.store.catalog.drop_column(name)

    def remove(self, video: int | str) -> None:
        """Remove a video with its rows; its file stays, unless it was sent to a server."""
        from engine.footage import remove_video

        remove_video(self.store, video)

    def drop_copies(self, video: int | str) -> None:
        """Delete uploads of the same content but the one that the video is read from."""
        from engine.footage import drop_copies

        drop_copies(self.store, video)

    # what is said in them

    def transcripts(self, videos: Sequence[int | str] | None = None) -> list[Transcript]:
        """Return the sources of lines of videos, by ids, names or globs, or of all."""
        meant = None if videos is None else list(select_names(self.store, videos))
        return self.store.transcripts.listed(meant)

    def add_transcript(
        self,
        video: int | str,
        path: str | Path,
        *,
        language: str | None = None,
        encoding: str | None = None,
    ) -> "Taken":
        """Read a file of subtitles as what is said in a video, in the place of one of its name."""
        from engine.video.subtitles.beside import read_bytes

        data = read_bytes(Path(path))
        return self.take_subtitles(
            video, Path(path).name, data, language=language, encoding=encoding
        )

    def take_subtitles(
        self,
        video: int | str,
        name: str,
        data: bytes,
        *,
        language: str | None = None,
        encoding: str | None = None,
    ) -> "Taken":
        """Read the bytes of a file of subtitles, as `add_transcript` does."""
        from engine.ingesting.transcribe import take_subtitles

        meant = self.store, self.video(video).video_id
        return take_subtitles(*meant, name, data, language=language, encoding=encoding)

    def scan_transcripts(
        self, videos: Sequence[int | str] | None = None
    ) -> "Iterator[tuple[str, list[Taken]]]":
        """Read what is said in stored videos, in their files and beside these; yield what came."""
        from engine.ingesting.transcribe import scan

        return scan(self.store, select_videos(self.store, videos or None))

    def read_screens(
        self, videos: Sequence[int | str] | None = None, *, every_seconds: float = 1.0
    ) -> "Iterator[tuple[str, Taken]]":
        """Read what is written in the pictures of stored videos; yield what came.

        It needs the extra `ocr`, and becomes a source of lines called `screen`.
        """
        from engine.ingesting.screen_text import ScreenReader, read_screens

        meant = select_videos(self.store, videos or None)
        return read_screens(self.store, meant, ScreenReader.load(), every_seconds)

    def hear_speech(
        self,
        videos: Sequence[int | str] | None = None,
        *,
        model: str | Path,
        language: str | None = None,
    ) -> "Iterator[tuple[str, Taken]]":
        """Hear what is said in stored videos by a Whisper model in a folder; yield what came.

        It needs the extra `speech`, and becomes a source of lines called `speech`.
        """
        from engine.ingesting.speech import SpeechListener, hear_speech

        meant = select_videos(self.store, videos or None)
        return hear_speech(self.store, meant, SpeechListener.load(Path(model), language=language))

    def remove_transcript(self, video: int | str, source: str | None = None) -> int:
        """Forget the lines of a video, of one source or of all; return of how many sources."""
        return self.store.transcripts.remove(self.video(video).video_id, source)

    # what they look like

    def frame(self, video: int | str, seconds: float, *, width: int = 480) -> bytes:
        """Return the frame shown at an instant as JPEG, at most `width` wide."""
        return self.footage(video).frame(seconds, width)

    def clip(
        self, video: int | str, start_seconds: float, stop_seconds: float, path: str | Path
    ) -> Path:
        """Cut `[start, stop)` of a video into an MP4 that browsers play; return its path."""
        footage = self.footage(video)
        check_target(Path(path))
        return footage.clip(start_seconds, stop_seconds, Path(path))

    def footage(self, video: int | str) -> "Footage":
        """Return what a video's frames are read from."""
        from engine.footage import footage_of

        return footage_of(self.store, video)

    def activity(self, video: int | str, *, points: int = 240) -> "Activity":
        """Return how much a video changes over its time, by its embedded frames."""
        from engine.activity import activity_of

        return activity_of(self.store, video, points)

    # jobs

    def jobs(
        self, status: JobStatus | None = None, *, after: str | None = None, limit: int | None = None
    ) -> list[Job]:
        """Return the jobs of the servers that had this folder, newest first.

        `limit` gives a page of so many, those that come `after` one.
        """
        return self.store.catalog.jobs(status, after=after, limit=limit)

    def job(self, job_id: str) -> Job:
        """Return a job by its id."""
        return self.store.catalog.job(job_id)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that waits, or that a server left behind; what has ended stays as it is."""
        if self.job(job_id).status in ("queued", "running"):
            self.store.catalog.update_job(job_id, status="cancelled")
        return self.job(job_id)

    @property
    def job_records(self) -> JobRecords:
        """The stored jobs themselves, for the one server that does them."""
        return self.store.catalog

    # queries that stand

    def standing(self) -> list[StandingQuery]:
        """Return what a server looks for in each video that comes in, by name."""
        return self.store.catalog.standing()

    def standing_query(self, name: str) -> StandingQuery:
        """Return the standing query of a name."""
        return self.store.catalog.standing_query(name)

    def put_standing(self, query: StandingQuery) -> None:
        """Keep a standing query, in the place of one of its name."""
        self.store.catalog.put_standing(query)

    def drop_standing(self, name: str) -> None:
        """Forget a standing query."""
        self.store.catalog.drop_standing(name)

    # the folder

    @property
    def layout(self) -> Layout:
        """Where things lie in the data folder."""
        return self.store.layout

    def announce(self, url: str) -> None:
        """Tell other processes that this one serves the folder at `url`."""
        self.store.announce(url)

    def completeness(self, videos: Sequence[int] | None = None) -> list[VideoCompleteness]:
        """Return how much of each video is embedded in the space in use; nothing if none is."""
        space = self.current_space()
        return [] if space is None else self.store.completeness(space.key, videos)

    def count_by_state(self) -> dict[State, int]:
        """Return how many videos are how far in the space in use; nothing if none is."""
        space = self.current_space()
        return {} if space is None else self.store.states(space.key)

    def finished_since(self, since: datetime) -> list[int]:
        """Return the videos that were embedded at a time (UTC) or later in the space in use."""
        space = self.current_space()
        return [] if space is None else self.store.catalog.finished_since(space.key, since)

    def verify(self, video: int | str | None = None) -> list[StoreProblem]:
        """Return everything that is not as it should be, of one video or of the whole folder."""
        return self.store.verify(None if video is None else self.video(video).video_id)

    def compact(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Fold small and superseded files together; return how many files that saves.

        Once `stopped` it ends soon; what was folded by then stays so.
        """
        return self.store.compact(stopped)

    def savable(self) -> int:
        """Return about how many files `compact` would save."""
        return self.store.savable()

    def publish(self) -> None:
        """Let processes that only read see all that is stored; `ingest` does, but not `apart`."""
        self.store.settle()

    def drop_forgotten_uploads(self, keep_seconds: float) -> list[str]:
        """Delete files that were sent to a server and belong to no video and no job; name them.

        Those of a job that failed or was cancelled are kept for so long, since it may be retried.
        """
        from engine.uploads import drop_forgotten

        return drop_forgotten(self.store, keep_seconds)

    # embedding spaces and their indexes

    def spaces(self) -> list[StoredSpace]:
        """Return the embedding spaces, one for each model whose vectors are stored."""
        return self.store.catalog.spaces()

    def current_space(self) -> StoredSpace | None:
        """Return the space in use, if there is one."""
        return self.store.catalog.current_space()

    def use_space(self, key: str) -> None:
        """Make a space the one in use."""
        self.store.catalog.use_space(key)

    def remove_space(self, key: str) -> None:
        """Remove a space with all of its rows; no space is in use if it was."""
        self.store.remove_space(key)

    def index(self, key: str) -> IndexStatus:
        """Return the state of one space's index."""
        return self.store.index_status_of(key)

    def indexes(self) -> list[IndexStatus]:
        """Return the state of every space's index."""
        return self.store.index_status()

    def build_indexes(self) -> list[IndexStatus]:
        """Build every index afresh from the stored rows."""
        return [self.store.build_index(space.key) for space in self.spaces()]
