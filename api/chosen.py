"""Which files of the server a request means: a file, a folder or a glob inside the video roots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import has_magic
from pathlib import Path
from typing import Any, Self

from api.config import ServerSettings
from api.deps import address_inside_roots, inside_roots
from engine.errors import NotFoundError, UsageError
from engine.ingesting.discover import Found, discover, let_through
from engine.objects.address import Place, is_address, lies_in, read_address, whole

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Meant:
    """Paths, and globs of which files are taken; a job keeps them as they are."""

    paths: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read what a job kept."""
        return cls(*(tuple(request.get(name, ())) for name in ("paths", "include", "exclude")))

    def as_dict(self) -> dict[str, Any]:
        """Return what a job keeps."""
        return asdict(self)


def checked(meant: Meant, settings: ServerSettings) -> Meant:
    """Return it with whole paths; one that lies outside the roots, or means no file, is refused."""
    paths = tuple(str(_rooted(path, settings)) for path in meant.paths)
    whole = Meant(paths, meant.include, meant.exclude)
    _choose(whole)
    return whole


def files_of(meant: Meant, settings: ServerSettings) -> tuple[list[Found], list[str]]:
    """Return the files that are meant, and the names of those whose links lead out of the roots.

    What was named itself was checked when it was: a job that waited is done under other roots too.
    """
    named = [_named(path) for path in meant.paths]
    inside, outside = list[Found](), list[str]()
    for each in _choose(meant):
        path = whole(each.path)
        if settings.allows(path) or any(lies_in(path, folder) for folder in named):
            inside.append(each)
        else:
            outside.append(each.name)
    if outside:
        log.warning("left out, they lie outside of the video roots: %s", ", ".join(outside))
    if outside and not inside:
        raise NotFoundError(f"all of {len(outside)} files lie outside of the video roots")
    return inside, outside


def _choose(meant: Meant) -> list[Found]:
    """Return the files that paths mean and globs let through."""
    found = discover(meant.paths)
    left = let_through(found, meant.include, meant.exclude)
    if found and not left:
        given = [f"include {glob!r}" for glob in meant.include]
        given += [f"exclude {glob!r}" for glob in meant.exclude]
        raise NotFoundError(f"{' '.join(given)} leave none of {len(found)} files")
    return left


def _rooted(given: str, settings: ServerSettings) -> Place:
    """Resolve a path; of a glob, the folders before its first wildcard."""
    if is_address(given):
        return address_inside_roots(settings, given)
    parts = Path(given).parts
    fixed = _fixed(parts)
    if fixed == len(parts) or "\0" in given or Path(given).exists():
        return inside_roots(settings, given)
    if ".." in parts[fixed:]:
        raise UsageError(f"the glob {given!r} goes up after a wildcard; allowed: .. before it")
    base = inside_roots(settings, str(Path(*parts[:fixed])) if fixed else ".")
    return base.joinpath(*parts[fixed:])


def _named(path: str) -> Place:
    """Return a path, of a glob the folders before its first wildcard."""
    if is_address(path):
        address = read_address(path)
        inner = address.key.split("/")
        return address.below("/".join(inner[: _fixed(inner)]))
    parts = Path(path).parts
    return Path(path) if Path(path).exists() else Path(*parts[: _fixed(parts)])


def _fixed(parts: Sequence[str]) -> int:
    """Return how many parts of a path come before its first wildcard."""
    return next((place for place, part in enumerate(parts) if has_magic(part)), len(parts))
