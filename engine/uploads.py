"""Files that were sent to a server and belong to nothing any more."""

import time
from datetime import UTC
from pathlib import Path

from engine.storage.store import Store

_ENDED = ("ready", "failed", "cancelled")


def drop_forgotten(store: Store, keep_seconds: float) -> list[str]:
    """Delete uploads that no video is read from and no job waits for; return their names.

    Those of a job that failed or was cancelled are kept for so long, since it may be retried.
    """
    folder = store.layout.uploads
    if not folder.is_dir():
        return []
    before = time.time() - keep_seconds
    files = {path for path in folder.iterdir() if path.is_file()}
    old = {path for path in files if path.stat().st_mtime < before}
    if not old:
        return []
    old -= {Path(path) for path in store.catalog.paths_by_name().values()}
    for job in store.catalog.jobs() if old else ():
        ended = job.finished_at
        if (
            job.status not in _ENDED
            or ended is None
            or ended.replace(tzinfo=UTC).timestamp() >= before
        ):
            old -= {Path(path) for path in job.request.get("paths", [])}
    for path in old:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in old)
