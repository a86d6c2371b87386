"""The store as one statement sees it: as it was at one moment, with the statement's own changes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import NotFoundError
from engine.storage import row_id
from engine.storage.store import Store
from engine.storage.view import SpaceRows, View


@dataclass(slots=True)
class Reading:
    """Pins the first moment that is looked at until it is renewed."""

    store: Store
    space: str
    pinned: View | None = None
    renewals: int = 0
    vectors: bool = True  # False: they are not asked for, so no file of them is opened
    final: bool = False  # the moment is kept, even where frames are missing in it

    @property
    def view(self) -> View:
        """The pinned moment."""
        if self.pinned is None:
            self.pinned = self.store.view(self.space, vectors=self.vectors)
        return self.pinned

    @property
    def rows(self) -> SpaceRows:
        """The rows and vectors of the pinned moment."""
        rows = self.view.rows
        assert rows is not None, "a statement that reads vectors was planned as one that does not"
        return rows

    def renew(self) -> None:
        """Look at the store as it is now: for what was asked to be embedded."""
        self.pinned = None
        self.renewals += 1

    def supersede(
        self, video_id: int, frames: NDArray[np.int32], vectors: NDArray[np.float32]
    ) -> bool:
        """Keep exact vectors of a video's frames, here and in the store; False where it has gone.

        A video that was removed meanwhile is part of this moment, but there is nowhere to keep it.
        """
        row_ids = row_id.pack(video_id, frames)
        self.pinned = self.view.made_exact(row_ids, vectors)
        try:
            self.store.supersede(self.space, video_id, frames, vectors)
        except NotFoundError:
            return False
        return True
