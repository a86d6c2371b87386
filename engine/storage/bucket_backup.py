"""Backups in a bucket: files by their content, and a list of them that is written last.

`objects/<SHA-256>` holds files, `backups/<serial>.json` says which make a store, and `store.json`
of which store all of it is. Until its list is there a backup does not exist; what a broken one has
sent is found by the next. Of two at a time one gets the next serial, and the other is told.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.errors import NotFoundError, ObjectError, StoreError, UsageError
from engine.objects import buckets
from engine.objects.address import BUCKETS, Address
from engine.objects.faults import ObjectExistsError, ObjectGoneError
from engine.objects.head import ObjectState
from engine.storage.backup import Copied, expect_store, extras_of, files_of, of_newest, settle
from engine.storage.durable import checksum, make_folder, sync
from engine.storage.layout import Layout
from engine.storage.publishing import hash_of, newest_copy, number_of
from engine.storage.restoring import begin, end

_FORMAT = 1
_KEPT = timedelta(days=1)  # for which what no list names may belong to a backup under way
_Objects = dict[str, ObjectState]


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a store as a list names it."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class _Listed:
    """One whole backup."""

    serial: int  # of the list itself
    number: int  # of the catalog, which rises
    files: tuple[_File, ...]

    @property
    def name(self) -> str:
        """What its object is called."""
        return f"backups/{self.serial:012d}.json"

    @property
    def catalog(self) -> _File:
        """The published copy of the catalog."""
        return self.files[-1]


def backup_to(root: Path, target: Address) -> Copied:
    """Send what is published to a bucket; what lies there already is not sent again."""
    layout = Layout(root.absolute())
    _expect_bucket(target)
    expect_store(layout)
    return of_newest(layout, lambda copy: _send(layout, copy, target))


def restore_from(source: Address, root: Path) -> Copied:
    """Make a store of the newest backup in a bucket, in a folder that is empty or not there.

    A damaged or missing object is refused by name. One that was broken off goes on when it is run
    again; until then nothing else opens the folder.
    """
    to = Layout(root.absolute())
    _expect_bucket(source)
    if to.root.exists() and any(to.root.iterdir()) and not to.restoring.exists():
        raise StoreError(f"{root} is not empty; nothing was restored")
    held = _objects(source)
    listed = _newest(source, held)
    if listed is None:
        if held:
            raise StoreError(f"the backup {source} was not finished; nothing was restored")
        raise NotFoundError(f"no backup {source}")
    for file in listed.files:
        _expect_held(source, file, held)
    begin(to, source)
    done = Copied()
    for file in listed.files:
        _fetch(source, file, held, to, done)
    settle(to, to.root / listed.catalog.path)
    end(to)
    return done


def _send(layout: Layout, copy: Path, target: Address) -> Copied:
    done, number = Copied(), number_of(copy) or 0
    named, identity = files_of(layout, copy)
    _claim(target, identity)
    held = _objects(target)
    before = _newest(target, held)
    if before is not None and before.number > number:
        said = f"{target} holds number {before.number} of this store, which comes after {number}"
        raise StoreError(f"{said}; nothing was copied; allowed: an empty place")
    own = hash_of(copy)
    if before and before.number == number and not before.catalog.sha256.startswith(own):
        said = f"{target} holds another number {number} of this store, which has gone on elsewhere"
        raise StoreError(f"{said}; nothing was copied; allowed: an empty place")
    known = {file.path: file for file in before.files} if before else {}
    files = []
    extras = ((layout.relative(path), None) for path in extras_of(layout))
    for path, digest in [*named.items(), *extras, (layout.relative(copy), own)]:
        try:
            file = _described(layout.root / path, path, digest, known.get(path))
        except FileNotFoundError:
            if newest_copy(layout) != copy:
                raise
            done.damaged.append(f"{path} is gone")
            continue
        if digest is not None and not file.sha256.startswith(digest):
            done.damaged.append(f"{Path(path).name} is not what was written")
            continue
        files.append(file)
        _put(layout.root / path, file, target, held, done)
    now = _objects(target)
    for file in files:
        _expect_held(target, file, now)
    _publish(target, _Listed(before.serial + 1 if before else 1, number, tuple(files)), before)
    try:
        _drop_others(target)
    except ObjectError as error:
        said = f"the backup is there and whole, but what is of no use any more is too: {error}"
        raise ObjectError(said) from error
    return done


def _claim(target: Address, identity: str) -> None:
    """Say whose backups a place holds; StoreError where they are another store's."""
    mark = _below(target, "store.json")
    told = json.dumps({"format": _FORMAT, "store": identity}).encode()
    try:
        buckets.put(mark, told, over=None)
    except ObjectExistsError:
        if buckets.read_all(mark) != told:
            raise StoreError(
                f"{target} is a backup of another store; nothing was copied;"
                " allowed: an empty place, or a backup of this one"
            ) from None


def _described(file: Path, path: str, digest: str | None, before: _File | None) -> _File:
    """Return a file's size and checksum: those of the last backup where it has not changed.

    What the catalog names is never written over, so that its name and size tell.
    """
    size = file.stat().st_size
    if digest and before and before.size == size and before.sha256.startswith(digest):
        return before
    return _File(path, checksum(file), size)


def _put(path: Path, file: _File, target: Address, held: _Objects, done: Copied) -> None:
    name = f"objects/{file.sha256}"
    if name in held and held[name].size == file.size:
        done.kept += 1
        return
    buckets.put(_below(target, name), path)
    held[name] = ObjectState(file.size, None, "")
    done.files += 1
    done.size_bytes += file.size


def _publish(target: Address, listed: _Listed, before: _Listed | None) -> None:
    """Let the backup exist: all at once, and never over another that was made meanwhile."""
    if before and (before.number, before.files) == (listed.number, listed.files):
        return
    content, address = _written(listed), _below(target, listed.name)
    try:
        buckets.put(address, content, over=None)
    except ObjectExistsError:
        if buckets.read_all(address) != content:  # else it is this one, whose answer was lost
            said = f"another backup was made at {target} meanwhile"
            raise StoreError(f"{said}; this one is not there; run it again") from None


def _written(listed: _Listed) -> bytes:
    """Return a list as it is stored: a line of what it holds, and one with that line's SHA-256."""
    files = [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in listed.files]
    told = {"format": _FORMAT, "serial": listed.serial, "number": listed.number, "files": files}
    line = json.dumps(told).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode()


def _drop_others(target: Address) -> None:
    """Delete earlier lists, and what no list names once no backup under way can need it."""
    held = _objects(target)
    newest = _newest(target, held)
    if newest is None:
        return
    needed = {f"objects/{file.sha256}" for file in newest.files} | {newest.name, "store.json"}
    latest = datetime.fromisoformat(held[newest.name].modified)
    old = [
        name
        for name, state in held.items()
        if name not in needed
        and (
            (name.startswith("backups/") and name < newest.name)
            or (
                name.startswith("objects/")
                and datetime.fromisoformat(state.modified) < latest - _KEPT
            )
        )
    ]
    buckets.delete([_below(target, name) for name in old])


def _newest(place: Address, held: _Objects) -> _Listed | None:
    """Read the newest list; StoreError where it is not what was written."""
    name = max((name for name in held if name.startswith("backups/")), default=None)
    if name is None:
        return None
    address = _below(place, name)
    line, _, rest = buckets.read_all(address).partition(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != rest:
        raise StoreError(f"{address} is not what was written; nothing was restored or copied")
    told: dict[str, Any] = json.loads(line)
    if told["format"] != _FORMAT:
        said = f"{address} has format {told['format']}; allowed: {_FORMAT}"
        raise StoreError(f"{said}; use the version of dejavu-engine that wrote it")
    return _Listed(told["serial"], told["number"], tuple(_files(told)))


def _files(told: dict[str, Any]) -> Iterator[_File]:
    """Yield files; none of them may lie outside of the folder that is made."""
    for each in told["files"]:
        path = Path(each["path"])
        if path.is_absolute() or ".." in path.parts:
            raise StoreError(f"a backup names {each['path']!r}; allowed: paths inside the store")
        yield _File(each["path"], each["sha256"], each["size"])


def _fetch(source: Address, file: _File, held: _Objects, to: Layout, done: Copied) -> None:
    """Bring a file, unless it is there; StoreError where the object is not what was sent."""
    target = to.root / file.path
    if target.exists() and target.stat().st_size == file.size and checksum(target) == file.sha256:
        done.kept += 1
        return
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.tmp")
    name = f"objects/{file.sha256}"
    address = _below(source, name)
    try:
        came = buckets.download(address, held[name], temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if came != file.sha256:
        temporary.unlink()
        raise StoreError(f"{address} is damaged: it is not the {file.path} that was sent")
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)
    done.files += 1
    done.size_bytes += file.size


def _expect_held(place: Address, file: _File, held: _Objects) -> None:
    name = f"objects/{file.sha256}"
    if name not in held:
        raise StoreError(f"{_below(place, name)} is gone, which is {file.path}")
    if held[name].size != file.size:
        said = f"{_below(place, name)} has {held[name].size} bytes, {file.path} has {file.size}"
        raise StoreError(f"{said}: it is damaged")


def _objects(place: Address) -> _Objects:
    """Return all that lies there by its name below the place."""
    start = len(_below(place, "x").key) - 1
    try:
        return {each.key[start:]: state for each, state in buckets.listing(place)}
    except ObjectGoneError as error:
        raise NotFoundError(str(error)) from error


def _below(place: Address, name: str) -> Address:
    folder = place.key.rstrip("/")
    return place.below(f"{folder}/{name}" if folder else name)


def _expect_bucket(place: Address) -> None:
    if place.scheme not in BUCKETS:
        allowed = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise UsageError(f"a backup at {place.scheme}://; allowed: a folder, {allowed}")
