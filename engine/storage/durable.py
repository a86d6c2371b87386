"""Files that are there as a whole or not at all, also after a crash."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from engine.errors import StoreError

Reached = Callable[[str], None]  # told the name of each commit point as it is passed


def publish(path: Path, fill: Callable[[Path], None], *, what: str, reached: Reached) -> None:
    """Let `fill` write a temporary file, then give it its name for good.

    On return the bytes, the name and the folder are on disk. A file that has the name already is
    left alone: nothing that was written is ever written over.
    """
    make_folder(path.parent)
    if path.exists():
        raise StoreError(f"cannot write {path}: a file has that name; run `store repair`")
    temporary = path.with_name(f".{path.name}.tmp")
    reached(f"{what}: begin")
    try:
        fill(temporary)
    except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError for a full disk
        temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    reached(f"{what}: written")
    sync(temporary)
    reached(f"{what}: synced")
    temporary.replace(path)
    reached(f"{what}: renamed")
    sync(path.parent)
    reached(f"{what}: published")


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder for what was set aside, under a name that is free there."""
    make_folder(folder)
    target, count = folder / path.name, 1
    while target.exists():
        target = folder / f"{path.name}.{count}"
        count += 1
    path.rename(target)
    sync(folder)
    return target


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Put a file or a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
