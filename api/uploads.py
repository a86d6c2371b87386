"""The files that were sent to a server: one for each content, gone with their video."""

from pathlib import Path

from engine.storage.store import Store


def uploads_of(store: Store, video_id: int) -> list[Path]:
    """Return the files of a video, under whatever name, that were uploaded."""
    paths = [Path(path) for path in store.catalog.paths(video_id)]
    return [path for path in paths if path.parent == store.layout.uploads]


def drop_copies(store: Store, video_id: int) -> None:
    """Of uploads of the same content keep the last, which the video is read from."""
    current = Path(store.catalog.video(video_id).path)
    copies = uploads_of(store, video_id)
    if current in copies:
        for path in copies:
            if path != current:
                path.unlink(missing_ok=True)
