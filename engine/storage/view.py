"""What one statement reads: rows, vectors and videos of a space as they were at one moment."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.errors import NotFoundError
from engine.storage import row_id
from engine.storage.completeness import coarse, settled
from engine.storage.database import Database, Late
from engine.storage.ledger import ROW_COLUMNS
from engine.storage.recorded_times import RecordedTimes
from engine.storage.records import StoredSpace
from engine.storage.snapshot import Hits, SearchScope, Snapshot, members
from engine.storage.tuning import LEAST_COSINE, products
from engine.storage.user_columns import wide_videos
from schemas.tables import FRAMES

Ids = NDArray[np.int64]
Places = NDArray[np.int64]

_MOST_KNOWN = 64
_FEW = 16  # one in so many rows are unpacked one by one rather than found in a scan
_CODED = ("picture", "strategy")  # few values: kept as codes
_ROWS = f"SELECT {', '.join(ROW_COLUMNS)} FROM stored_frames WHERE space_id = ?"
_GOPS = "SELECT * FROM gops ORDER BY video_id, gop"
_STRETCHES = (
    "SELECT s.video_id, start_seconds, stop_seconds FROM stretches s JOIN segments"
    " USING (video_id, space_id, sampling, strategy) WHERE shown AND space_id = ?"
    " AND NOT list_contains(?::BIGINT[], s.video_id) ORDER BY s.video_id, stretch"
)


def runs(starts: Places, stops: Places) -> Places:
    """Return the numbers of each `[start, stop)`, one after the other, without a loop over them."""
    counts = stops - starts
    shifts = np.repeat(starts - np.cumsum(counts) + counts, counts)
    return np.arange(int(counts.sum()), dtype=np.int64) + shifts


@dataclass(frozen=True)
class FrameTable:
    """What is known of each row of a space, by rising row id; a place is a row's number here."""

    known: pa.Table  # ROW_COLUMNS, each in one piece
    fixed: Places = field(default_factory=lambda: np.empty(0, np.int64))  # exact since then
    recorded: RecordedTimes = field(default_factory=RecordedTimes)  # of its videos

    def __len__(self) -> int:
        return self.known.num_rows

    @classmethod
    def of_rows(cls, rows: pa.Table) -> Self:
        """Take rows in any order."""
        for name in _CODED:
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, name, rows.column(name).dictionary_encode())
        row_ids = rows.column("row_id").to_numpy()
        if not bool((row_ids[1:] > row_ids[:-1]).all()):
            rows = rows.take(pa.array(np.argsort(row_ids)))
        return cls(rows.combine_chunks())

    @cached_property
    def row_ids(self) -> Ids:
        """The ids, rising."""
        return self.numbers("row_id")

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """When each row is shown."""
        return self.numbers("seconds")

    @cached_property
    def exact(self) -> NDArray[np.bool_]:
        """Whether each vector is that of a dense encoding."""
        found = self.numbers("exact").astype(bool)
        found[self.fixed] = True
        return found

    @cached_property
    def drift(self) -> NDArray[np.float32]:
        """The estimated distance of each vector from the exact one, NaN where unknown."""
        found = self.numbers("drift").copy()
        found[self.fixed] = 0
        return found

    @cached_property
    def all_exact(self) -> bool:
        """Whether there is nothing that could be made exact."""
        return bool(self.exact.all())

    def numbers(self, name: str) -> NDArray[Any]:
        """Return a column of numbers."""
        return self.known.column(name).to_numpy()

    def find(self, row_ids: Ids) -> Places:
        """Return the place of each row, -1 for one that is not here."""
        if not len(self):
            return np.full(len(row_ids), -1, np.int64)
        at = np.searchsorted(self.row_ids, row_ids).clip(max=len(self) - 1)
        return np.where(self.row_ids[at] == row_ids, at, -1)

    def places(self, row_ids: Ids) -> Places:
        """Return the place of each row; raises NotFoundError for one that is not here."""
        places = self.find(row_ids)
        if (places < 0).any():
            raise NotFoundError(row_id.no_row(row_ids[places < 0][0]))
        return places

    def of_videos(self, video_ids: Sequence[int] | Ids) -> Places | None:
        """Return the places of all rows of some videos, rising; None where that is every row."""
        videos = np.asarray(video_ids, np.int64)
        if not (videos[1:] > videos[:-1]).all():
            videos = np.unique(videos)
        starts = np.searchsorted(self.row_ids, row_id.pack(videos, 0))
        stops = np.searchsorted(self.row_ids, row_id.pack(videos + 1, 0))
        return None if (stops - starts).sum() == len(self) else runs(starts, stops)

    def table(self, names: Sequence[str], places: Places | None = None) -> pa.Table:
        """Return columns of the rows at places, or of all, as queries name and type them.

        They say what was so when this was read: not that rows have been made exact since.
        """
        stored = [name for name in names if name != "at"]
        rows = self.known.select(stored or ["row_id"])  # a table without columns has no rows
        if places is not None:
            rows = rows.take(pa.array(places))
        if "at" in names:
            rows = rows.append_column("at", self._at(places))
        rows = rows.select(list(names))
        kinds = [FRAMES.field(n) if n in FRAMES.names else rows.field(n) for n in names]
        return rows.cast(pa.schema(kinds))

    def _at(self, places: Places | None) -> pa.Array:
        """When the rows at places were recorded."""
        shown = slice(None) if places is None else places
        return self.recorded.at(row_id.videos_of(self.row_ids[shown]), self.seconds[shown])

    def recorded_at(self, times: RecordedTimes) -> Self:
        """Return this with what is known now of when its videos were recorded."""
        return self if times.same_as(self.recorded) else replace(self, recorded=times)

    def made_exact(self, places: Places) -> Self:
        """Return this with rows that have the exact vector now."""
        return replace(self, fixed=np.union1d(self.fixed, places))


@dataclass(frozen=True)
class SpaceRows:
    """The rows of a space and their vectors, as they belong together."""

    frames: FrameTable
    snapshot: Snapshot

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Where each row lies in the index, -1 for one that is not merged yet."""
        base = self.snapshot.base
        if base is None:
            return np.full(len(self.frames), -1, np.int64)
        if np.array_equal(base.row_ids, self.frames.row_ids):
            return base.positions
        return base.find(self.frames.row_ids)

    @cached_property
    def is_merged(self) -> bool:
        """Whether every row lies in the index."""
        return bool((self.positions >= 0).all())

    def scope(self, places: Places | None) -> SearchScope:
        """Prepare a search among the rows at places, or among all."""
        if places is None:
            return self.snapshot.among(None)
        merged, base = None, self.snapshot.base
        if base is not None:
            positions = self.positions[places]
            merged = base.choose(positions if self.is_merged else positions[positions >= 0])
        blocks = []
        if self.snapshot.delta:
            chosen = np.zeros(len(self.frames), bool)
            chosen[places] = True
            own = (b.only(chosen[self.frames.find(b.row_ids)]) for b in self.snapshot.delta)
            blocks = [block for block in own if len(block.row_ids)]
        return SearchScope(merged, tuple(blocks))

    def search(
        self, query: np.ndarray, k: int, places: Places | None = None, *, exact: bool = False
    ) -> Hits:
        """Return the `k` nearest rows, of those at places if given; `exact`: by a scan."""
        return self.snapshot.search(query, k, self.scope(places), exact=exact)

    def scores(self, query: np.ndarray, places: Places | None = None) -> NDArray[np.float32]:
        """Return the exact score of each row at places, or of all, in their order."""
        if places is not None and self._are_few(places):
            return products(self.vectors(self.frames.row_ids[places]), query)
        among, base = self.scope(places), self.snapshot.base
        found = np.empty(len(self.frames), np.float32)
        if base is not None and among.merged is not None:
            here = slice(None) if self.is_merged else self.positions >= 0
            found[here] = base.scores(query, among.merged)[self.positions[here]]
        for block in among.blocks:
            found[self.frames.find(block.row_ids)] = products(block.vectors, query)
        return found if places is None else found[places]

    def within(
        self, query: np.ndarray, least: float, most: float = inf, places: Places | None = None
    ) -> tuple[Places, NDArray[np.float32]]:
        """Return the places (of those given) that score from `least` to `most`, rising, and how."""
        if least <= LEAST_COSINE or self._are_few(places):
            scores = self.scores(query, places)
            kept = (scores >= least) & (scores <= most)
            return (np.flatnonzero(kept) if places is None else places[kept]), scores[kept]
        among, base = self.scope(places), self.snapshot.base
        ids, found = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        if base is not None and among.merged is not None:
            merged = base.above(query, least, among.merged)
            ids, found = [merged.row_ids], [merged.scores]
        for block in among.blocks:
            scores = products(block.vectors, query)
            over = scores >= least
            ids.append(block.row_ids[over])
            found.append(scores[over])
        at, scores = self.frames.find(np.concatenate(ids)), np.concatenate(found)
        order = np.argsort(at)
        order = order[scores[order] <= most]
        return at[order], scores[order]

    def _are_few(self, places: Places | None) -> bool:
        return places is not None and len(places) * _FEW <= len(self.frames)

    def vectors(self, row_ids: Ids) -> NDArray[np.float32]:
        """Return the vectors of rows in the order given: `[n, E]`."""
        return self.snapshot.vectors(row_ids)

    def made_exact(self, row_ids: Ids, vectors: np.ndarray) -> Self:
        """Return this with the exact vectors of some rows, as the store keeps them."""
        places = self.frames.find(row_ids)
        here = places >= 0
        return replace(
            self,
            frames=self.frames.made_exact(places[here]),
            snapshot=self.snapshot.adding(row_ids[here], vectors[here].astype(np.float16)),
        )


@dataclass(frozen=True)
class View:
    """One moment of a space; nothing that others write meanwhile is seen."""

    frames: FrameTable  # what is known of each row
    rows: SpaceRows | None  # the same with their vectors; None where nobody asked for these
    videos: pa.Table  # by rising id
    settled: Ids  # videos that cannot or need not be embedded, rising
    coarse: Ids  # of the other videos those with a row of each group of pictures, rising
    stretches: pa.Table  # of the other videos, by video
    all_gops: Late
    shown: int  # of the catalog, up to that moment
    dimension: int  # of the space's vectors
    known: dict[Hashable, Ids] = field(default_factory=dict)  # by what was asked of the catalog

    @cached_property
    def has_unsettled(self) -> bool:
        """Whether there is a video of which frames may be missing."""
        return bool(len(self.unsettled))

    @cached_property
    def unsettled(self) -> Ids:
        """The videos of which frames may be missing, rising."""
        own = self.videos.column("video_id").to_numpy()
        return own[~members(own, self.settled)]

    @cached_property
    def unfinished(self) -> Ids:
        """Those of them that were to be embedded, rising: they give fewer rows than they should."""
        own = self.videos.column("video_id").to_numpy()
        registered = pc.equal(self.videos.column("status"), "registered").to_numpy()
        return own[~registered & ~members(own, self.settled)]

    @cached_property
    def open_gops(self) -> pa.Table:
        """The GOPs of the videos of which frames may be missing."""
        return self.gops_of(self.unsettled)

    def gops_of(self, videos: Ids) -> pa.Table:
        """Return the GOPs of some videos (rising), by video and number."""
        own = self.gops.column("video_id").to_numpy()
        starts, stops = (np.searchsorted(own, videos, side) for side in ("left", "right"))
        return self.gops.take(pa.array(runs(starts, stops)))

    @cached_property
    def names(self) -> Mapping[int, str]:
        """The names of the videos by their ids, in the order of these."""
        columns = (self.videos.column(name).to_pylist() for name in ("video_id", "name"))
        return dict(zip(*columns, strict=True))

    @cached_property
    def gops(self) -> pa.Table:
        """The GOPs of the videos, by video and number."""
        rows = self.all_gops.read()
        own = self.videos.column("video_id").to_numpy()
        return rows.filter(pa.array(members(rows.column("video_id").to_numpy(), own)))

    def remembered(self, question: Hashable, ask: Callable[[], Ids]) -> Ids:
        """Return what the catalog of this moment answers, asked once for all statements on it."""
        if question not in self.known:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known[question] = ask()
        return self.known[question]

    def made_exact(self, row_ids: Ids, vectors: np.ndarray) -> Self:
        """Return this with the exact vectors of some rows, as the store keeps them."""
        assert self.rows is not None
        rows = self.rows.made_exact(row_ids, vectors)
        return replace(self, frames=rows.frames, rows=rows)


class Views:
    """Gives the present view of each space; what has not changed is shared between them."""

    def __init__(self, database: Database, snapshot: Callable[[StoredSpace], Snapshot]) -> None:
        self._database, self._snapshot = database, snapshot
        self._held: dict[int, View] = {}

    def view(self, space: StoredSpace, *, vectors: bool) -> View:
        """Return the present moment of a space; without `vectors` no file but the catalog is read.

        What the catalog says of rows is true also where their file turns out to be damaged.
        """
        held = self._held.get(space.space_id)
        if held is not None and held.shown == self._database.shown:
            if held.rows is None and not vectors:
                return held
            if held.rows is not None and vectors and held.rows.snapshot is self._snapshot(space):
                return held
        with self._database.writing:
            made = self._read(space, held, vectors)
            self._held[space.space_id] = made
            return made

    def forget(self, space_id: int) -> None:
        """Drop what is held of a space."""
        self._held.pop(space_id, None)

    def forget_all(self) -> None:
        """Drop what is held of all spaces."""
        self._held.clear()

    def _read(self, space: StoredSpace, held: View | None, vectors: bool) -> View:
        # first: what is damaged is found now, and not seen below
        snapshot = self._snapshot(space) if vectors else None
        database = self._database
        if held is not None and held.rows is not None and held.rows.snapshot is snapshot:
            frames, rows = held.frames, held.rows
        else:
            frames = FrameTable.of_rows(database.table(_ROWS, [space.space_id]))
            rows = None
        if snapshot is not None and rows is None:
            if len(frames) != snapshot.num_rows:  # rows of parts that cannot be read
                here = snapshot.has(frames.row_ids)
                frames = FrameTable(frames.known.filter(pa.array(here)).combine_chunks())
            rows = SpaceRows(frames, snapshot)
        done = sorted(settled(database, space.space_id))
        stretches = database.table(_STRETCHES, [space.space_id, done])
        videos = wide_videos(database)
        frames = frames.recorded_at(RecordedTimes.of(videos))
        if rows is not None and rows.frames is not frames:
            rows = replace(rows, frames=frames)
        begun = sorted(coarse(database, space.space_id))
        return View(
            frames,
            rows,
            videos,
            np.array(done, np.int64),
            np.array(begun, np.int64),
            stretches,
            Late(database, _GOPS),
            database.shown,
            space.dimension,
        )
