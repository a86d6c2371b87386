"""Files that are there as a whole or not at all, also after a crash."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkstemp

from engine.errors import StoreError

_DESCRIPTORS = Path("/proc/self/fd")

Reached = Callable[[str], None]  # told the name of each commit point as it is passed


def publish(
    path: Path,
    fill: Callable[[Path], None],
    *,
    what: str,
    reached: Reached,
    read: Callable[[Path], Callable[[], object]] | None = None,
) -> None:
    """Let `fill` write a temporary file, then give it its name for good.

    On return the bytes, the name and the folder are on disk. A file that has the name already is
    left alone: nothing that was written is ever written over. `read` may begin to read what was
    written while it goes to disk; what it returns waits for the end of that.
    """
    make_folder(path.parent)
    if path.exists():
        raise StoreError(f"cannot write {path}: a file has that name; run `store repair`")
    temporary = path.with_name(f".{path.name}.tmp")
    reached(f"{what}: begin")
    draft(path, temporary, fill)
    reached(f"{what}: written")
    finish = read(temporary) if read else None
    sync(temporary)
    if finish:
        finish()
    give_name(path, temporary, what=what, reached=reached)


def give_name(path: Path, temporary: Path, *, what: str, reached: Reached) -> None:
    """Give a file that is on disk its name for good."""
    reached(f"{what}: synced")
    temporary.replace(path)
    reached(f"{what}: renamed")
    sync(path.parent)
    reached(f"{what}: published")


def draft(path: Path, temporary: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write what is to be at a path under another name, of which no failure leaves one.

    The name begins with a point and ends in `.tmp`: opening a folder deletes such a file.
    """
    make_folder(temporary.parent)
    try:
        fill(temporary)
    except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError for a full disk
        temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def private_file(fill: Callable[[Path], None]) -> Path:
    """Let `fill` write a file for this process alone, in memory where the system has such files."""
    if sys.platform == "linux":  # a reader's disk may be read-only
        path = _DESCRIPTORS / str(os.memfd_create("dejavu"))
    else:
        descriptor, name = mkstemp()
        os.close(descriptor)
        path = Path(name)
    try:
        fill(path)
    except BaseException:
        drop_private(path)
        raise
    return path


def drop_private(path: Path) -> None:
    """Keep a private file no longer than it is open or mapped."""
    if path.parent == _DESCRIPTORS:
        os.close(int(path.name))
    else:
        path.unlink()


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
