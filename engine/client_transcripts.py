"""What is said in videos, through a server: the calls of a library."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import check_videos
from engine.told import transcript_of

if TYPE_CHECKING:
    from engine.ingesting.transcribe import Taken
    from engine.storage.records import Transcript, Video


class TranscriptCalls:
    """Of a client: what is listed, read and forgotten of what is said."""

    if TYPE_CHECKING:

        def call(self, method: str, path: str, body: Any = None) -> Any:
            """Send a request and return its JSON."""

        def video(self, video: int | str) -> Video:
            """Return a video by its id or one of its names."""

    def transcripts(self, videos: Sequence[int | str] | None = None) -> "list[Transcript]":
        """Return the sources of lines of videos, by ids, names or globs, or of all."""
        check_videos(videos)
        body = {"videos": None if videos is None else list(videos)}
        return [transcript_of(each) for each in self.call("POST", "/transcripts/list", body)]

    def add_transcript(
        self,
        video: int | str,
        path: str | Path,
        *,
        language: str | None = None,
        encoding: str | None = None,
    ) -> "Taken":
        """Send a file of subtitles of this machine as what is said in a video."""
        from engine.ingesting.transcribe import Taken
        from engine.video.subtitles.beside import read_bytes

        body = {
            "name": Path(path).name,
            "content": base64.b64encode(read_bytes(Path(path))).decode(),
            "language": language,
            "encoding": encoding,
        }
        at = f"/videos/{self.video(video).video_id}/transcripts"
        return Taken(**self.call("POST", at, body))

    def scan_transcripts(
        self, videos: Sequence[int | str] | None = None
    ) -> "Iterator[tuple[str, list[Taken]]]":
        """Have the server read what is said in stored videos, in their files and beside these."""
        from engine.ingesting.transcribe import Taken

        check_videos(videos)
        body = {"videos": None if videos is None else list(videos)}
        for each in self.call("POST", "/transcripts/scan", body):
            yield each["video"], [Taken(**taken) for taken in each["taken"]]

    def remove_transcript(self, video: int | str, source: str | None = None) -> int:
        """Forget the lines of a video, of one source or of all; return of how many sources."""
        body = {"source": source}
        at = f"/videos/{self.video(video).video_id}/transcripts/remove"
        return int(self.call("POST", at, body)["removed"])
