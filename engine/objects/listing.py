"""Which objects an address means: one, what lies below it, or what a glob matches."""

import re
from collections.abc import Iterator
from glob import has_magic

from engine.errors import NotFoundError, UsageError
from engine.objects import buckets
from engine.objects.address import Address
from engine.objects.faults import ObjectGoneError
from engine.objects.remote import head_of


def objects_of(given: Address) -> Iterator[tuple[Address, str]]:
    """Yield objects with their names, each its path below what was given, in order of their keys.

    A key that ends in a slash, or that no object has, means what lies below it. `*` and `?` match
    within one part of a key, `**` any number of parts.
    """
    if given.scheme == "https":
        if has_magic(given.key):
            raise UsageError(f"the glob {given}; allowed: the address of one file, hosts list none")
        head_of(given)
        yield given, given.name
    elif has_magic(given.bucket):
        raise UsageError(f"the glob {given}; allowed: one bucket, wildcards after it")
    elif has_magic(given.key) and not _is_object(given):
        yield from _globbed(given)
    elif given.key and not given.key.endswith("/") and _is_object(given):
        yield given, given.name
    else:
        found = False
        below = len(given.key.rstrip("/")) + 1 if given.key else 0
        for each, _ in buckets.listing(given):
            found = True
            yield each, each.key[below:]
        if not found:
            raise NotFoundError(f"no object {given} and none below it")


def _globbed(given: Address) -> Iterator[tuple[Address, str]]:
    """Yield what a glob matches, and what lies below folders that it matches."""
    parts = given.key.rstrip("/").split("/")
    fixed = next(at for at, part in enumerate(parts) if has_magic(part))
    pattern, found = re.compile(_pattern(parts)), False
    for each, _ in buckets.listing(given.below("/".join(parts[:fixed]))):
        if pattern.fullmatch(each.key):
            found = True
            yield each, each.name
    if not found:
        raise NotFoundError(f"nothing matches {str(given)!r}")


def _pattern(parts: list[str]) -> str:
    """Return the expression of a glob; a part's own meaning ends at its slash."""
    told = []
    for part in parts:
        if part == "**":
            told.append("(?:[^/]+/)*")
            continue
        for piece in re.split(r"(\*|\?|\[[^]]+\])", part):
            if piece in ("*", "?"):
                told.append("[^/]*" if piece == "*" else "[^/]")
            elif piece.startswith("[") and piece.endswith("]"):
                inner = piece[1:-1].replace("\\", r"\\")
                told.append(f"[{'^' + inner[1:] if inner.startswith('!') else inner}]")
            else:
                told.append(re.escape(piece))
        told.append("/")
    if parts[-1] == "**":
        told.append("[^/]+")
    elif told[-1] == "/":
        told.pop()
    return "".join(told)


def _is_object(address: Address) -> bool:
    try:
        head_of(address)
    except ObjectGoneError:
        return False
    return True
