"""Which stored videos are meant: by name, id or glob, by date, by whether their source is there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from engine.objects.address import place_of

if TYPE_CHECKING:
    from engine.storage.records import Video

Gone = Annotated[bool, typer.Option("--gone", help="Those whose file is no longer there.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Those that came in then or later: 2026-03-01.")
]
Until = Annotated[str | None, typer.Option("--until", help="Those that came in before then.")]


@dataclass(frozen=True, slots=True)
class Choice:
    """Conditions that all must hold."""

    since: datetime | None
    until: datetime | None
    gone: bool
    where: str | None

    @classmethod
    def read(cls, since: str | None, until: str | None, gone: bool, where: str | None) -> "Choice":
        """Read what flags say."""
        return cls(_instant("--since", since), _instant("--until", until), gone, where)

    @property
    def everything(self) -> bool:
        """Whether there is no condition."""
        return self == Choice(None, None, False, None)

    @property
    def without_where(self) -> "Choice":
        """The conditions that are looked at here."""
        return replace(self, where=None)

    def of(self, videos: "Iterable[Video]") -> "list[Video]":
        """Return those of some videos that meet them; `where` is the library's to ask."""
        return [video for video in videos if self._meets(video)]

    def _meets(self, video: "Video") -> bool:
        if self.gone and not video.path:
            raise UsageError("a server tells no paths: --gone needs the data folder itself")
        from engine.objects.remote import is_there  # of buckets too, which takes long to load

        if self.gone and is_there(place_of(video.path)):
            return False
        came = video.ingested_at
        early = self.since is not None and came < self.since
        return not early and not (self.until is not None and came >= self.until)


def _instant(flag: str, given: str | None) -> datetime | None:
    """Read a day or an instant, local where no zone is named, as the catalog's: UTC without one."""
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given).astimezone(UTC).replace(tzinfo=None)
    except ValueError as error:
        said = f"{flag} {given!r}; expected a day or an instant, as 2026-03-01 or 2026-03-01T14:30"
        raise UsageError(said) from error
