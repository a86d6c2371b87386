"""Files of subtitles: found beside a video, and read."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.errors import NotFoundError, UsageError
from engine.objects.address import Address, Place
from engine.video.subtitles.cue import CuesRead
from engine.video.subtitles.letters import read_letters
from engine.video.subtitles.subrip import read_subrip
from engine.video.subtitles.webvtt import read_webvtt

ENDINGS: Final = (".srt", ".vtt")
MOST_BYTES: Final = 256 << 20
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True, slots=True)
class Beside:
    """A file of subtitles and the language that its name tells."""

    path: Path
    language: str | None = None


@dataclass(slots=True)
class Folders:
    """Finds the subtitles beside videos; each folder is listed once."""

    listed: dict[Path, dict[str, list[Beside]]] = field(default_factory=dict)

    def beside(self, video: Place) -> list[Beside]:
        """Return NAME.srt, NAME.vtt, NAME.LANGUAGE.srt and .vtt of a video NAME.mp4, by name.

        Of an object elsewhere there are none: that would take asking for a list of each folder.
        """
        if isinstance(video, Address):
            return []
        if video.parent not in self.listed:
            self.listed[video.parent] = _listing(video.parent)
        return self.listed[video.parent].get(video.stem, [])


def _listing(folder: Path) -> dict[str, list[Beside]]:
    found: dict[str, list[Beside]] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return found
    for name in names:
        stem, _, ending = name.rpartition(".")
        if f".{ending.lower()}" not in ENDINGS:
            continue
        found.setdefault(stem, []).append(Beside(folder / name))
        language = language_of(name)
        if language is not None:
            found.setdefault(stem.rpartition(".")[0], []).append(Beside(folder / name, language))
    return found


def language_of(name: str) -> str | None:
    """Return the language that a file's name tells, as `talk.pt-BR.srt` does, or None."""
    before, _, last = Path(name).stem.rpartition(".")
    return last if before and _LANGUAGE.fullmatch(last) else None


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of subtitles."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path.name} is no file of subtitles; allowed: {', '.join(ENDINGS)}")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            most = f"{MOST_BYTES >> 20} MB"
            raise UsageError(f"{path.name} has {size >> 20} MB; allowed: {most}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"no file '{path}'") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {str(error.strerror).lower()}") from error


def read_file(name: str, data: bytes, encoding: str | None = None) -> tuple[CuesRead, str]:
    """Return the lines in a file's bytes, and the encoding that they were read in."""
    text, used = read_letters(data, encoding)
    is_webvtt = name.lower().endswith(".vtt") or text.startswith("WEBVTT")
    return (read_webvtt(text) if is_webvtt else read_subrip(text)), used
