"""Which files are meant: paths, folders and globs, each file once."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import ClassVar

from engine.errors import NotFoundError, UsageError
from engine.objects.address import Address, Place, place_of
from engine.objects.listing import objects_of
from engine.video.suffixes import SUFFIXES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest; `name` is how it is called: its path below the folder that was given."""

    WORDS: ClassVar = "what was found"

    path: Place
    name: str

    @property
    def address(self) -> str:
        """The path as text; what in it is not UTF-8 is replaced, and then it opens nothing."""
        return readable(str(self.path))


def discover(paths: Sequence[str | Place | Found]) -> list[Found]:
    """Return the files that `paths` mean, each once, in a stable order.

    A file is taken whatever it is called, as is what a glob matches; of a folder's files those that
    are called like videos. Links are followed; a folder that contains itself is entered once; one
    below the given that cannot be read is left out, with a warning.
    """
    found: dict[Place, Found] = {}
    for given in paths:
        if isinstance(given, Found):
            found.setdefault(given.path, given)
            continue
        if not str(given).strip():  # a variable of a shell that is not set is not this folder
            raise UsageError("an empty path; allowed: files, folders, globs, `.` for this folder")
        for item in _given(place_of(given)):
            found.setdefault(item.path, item)
    return list(found.values())


def let_through(
    found: Sequence[Found], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Found]:
    """Return the files that a glob of `include` matches, if there is one, and none of `exclude`.

    A glob with a slash is held against the name (the path below the folder that was given), one
    without against each part of it, so that it may mean a folder. `*` also matches slashes.
    """
    for glob in (*include, *exclude):
        if not glob.strip():
            raise UsageError("an empty glob; allowed: *.mp4, a folder's name, north/*/2024*")
    return [
        each
        for each in found
        if (not include or any(_matches(each.name, glob) for glob in include))
        and not any(_matches(each.name, glob) for glob in exclude)
    ]


def readable(text: str) -> str:
    """Replace what a file's name has that is not UTF-8, so that it can be stored and printed."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _matches(name: str, glob: str) -> bool:
    parts = [name] if "/" in glob else name.split("/")
    return any(fnmatchcase(part, glob) for part in parts)


def _given(path: Place) -> Iterator[Found]:
    if isinstance(path, Address):
        yield from (Found(each, name) for each, name in objects_of(path) if _takes(each, path))
        return
    path = path.expanduser()
    if os.path.isdir(path):  # noqa: PTH112  # unlike Path's, these raise nothing
        yield from _folder(path)
    elif os.path.lexists(path):
        yield _found(path, path.name)
    elif not has_magic(str(path)):
        raise NotFoundError(f"no file or folder {readable(str(path))!r}")
    else:
        anchor = Path(path.anchor or ".")
        matches = sorted(anchor.glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise NotFoundError(f"nothing matches {str(path)!r}")
        for match in matches:
            yield from _folder(match) if os.path.isdir(match) else [_found(match, match.name)]  # noqa: PTH112


def _takes(found: Address, given: Address) -> bool:
    """What a glob matches is taken whatever it is called, as is what is named itself."""
    return found == given or has_magic(given.key) or bool(SUFFIXES.fullmatch(found.suffix))


def _found(path: Path, name: str) -> Found:
    return Found(path.absolute(), readable(name))


def _folder(folder: Path) -> Iterator[Found]:
    entered: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        said = f"cannot read the folder {readable(error.filename)}: {str(error.strerror).lower()}"
        if Path(error.filename) == folder:
            raise UsageError(said) from error
        log.warning(said)

    for root, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        try:
            status = Path(root).stat()
        except OSError as error:  # it went meanwhile
            unreadable(error)
            continue
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            if SUFFIXES.fullmatch(path.suffix):
                yield _found(path, path.relative_to(folder).as_posix())
