"""The mark of a restore that has not ended: nothing else may use the folder until it has."""

from engine.errors import StoreError
from engine.objects.address import Place
from engine.storage.durable import make_folder, sync
from engine.storage.layout import Layout


def begin(layout: Layout, source: Place) -> None:
    """Mark a folder as one that is being made of a backup."""
    make_folder(layout.root)
    layout.restoring.write_text(str(source))
    sync(layout.restoring)
    sync(layout.root)


def end(layout: Layout) -> None:
    """Let the folder be used."""
    layout.restoring.unlink()
    sync(layout.root)


def unfinished(layout: Layout) -> str | None:
    """Return what to do about a restore that was broken off, or None."""
    if not layout.restoring.exists():
        return None
    source = layout.restoring.read_bytes().decode(errors="replace") or "BACKUP"
    again = f"dejavu-engine store restore {source} --data {layout.root}"
    return f"a restore into {layout.root} was not finished; {again} goes on with it"


def must_be_finished(layout: Layout) -> None:
    """Raise StoreError where a restore was broken off."""
    if text := unfinished(layout):
        raise StoreError(text)
