"""What videos answered, kept across statements for as long as what it rests on stays as it is."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from engine.operators.base import Question, Reply
from engine.storage.store import Store

MOST_REPLIES: Final = 10_000


@dataclass(slots=True)
class Replies:
    """The replies given last, for any thread.

    Each is kept under the content of its video, the question, the model's space, the rows of the
    video as they are, and its file, which may have been looked at. So none grows old.
    """

    most: int = MOST_REPLIES
    _kept: OrderedDict[Hashable, Reply | None] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(
        self, store: Store, space: str, asked: Question, ask: Callable[[], Reply | None]
    ) -> Reply | None:
        """Return what a video answers; it is asked where that is not kept."""
        key = _key(store, space, asked)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        reply = ask()
        if _key(store, space, asked) != key:
            return reply  # what it rests on changed meanwhile: of which state it is nobody knows
        with self._lock:
            self._kept[key] = reply
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return reply

    def has(self, store: Store, space: str, asked: Question) -> bool:
        """Tell whether an answer is kept that still holds."""
        key = _key(store, space, asked)
        with self._lock:
            return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)


def _key(store: Store, space: str, asked: Question) -> Hashable:
    video_id, question, choices = asked
    video = store.catalog.video(video_id)
    state = store.rows_state(space, video_id)
    return video.content_hash or video_id, question, choices, space, state, _file_state(video.path)


def _file_state(path: str) -> tuple[int, int] | None:
    """Size and time of a file, None where there is none, and of objects elsewhere."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
