"""The files that were sent to a server: one for each content, gone with their video."""

from pathlib import Path

from engine.footage import uploads_of as uploads_of
from engine.storage.store import Store


def drop_copies(store: Store, video_id: int) -> None:
    """Of uploads of the same content keep the last, which the video is read from."""
    current = Path(store.catalog.video(video_id).path)
    copies = uploads_of(store, video_id)
    if current in copies:
        for path in copies:
            if path != current:
                path.unlink(missing_ok=True)
