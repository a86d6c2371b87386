"""The part files: published, checked and read, condemned, discarded."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

import numpy as np
import pyarrow as pa

from engine.errors import StoreError
from engine.storage.apart import KIND, Blank, WrittenPart
from engine.storage.changes import row_ids_of
from engine.storage.condemn import commit_condemned, commit_shortfall
from engine.storage.database import Database
from engine.storage.describe import describe, describe_space
from engine.storage.durable import Reached, checksum, give_name, make_folder, publish, set_aside
from engine.storage.embeddings import vectors_of
from engine.storage.layout import Layout
from engine.storage.ledger import Ledger
from engine.storage.parts import (
    FORMAT,
    DamagedPartError,
    Footer,
    Piece,
    parse_rows,
    read_bytes,
    rows_digest,
    write_part,
)
from engine.storage.publishing import newest_copy
from engine.storage.records import Holding, Part
from engine.storage.sampling import Sampling

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class SupersededError(StoreError):
    """What a reading process has opened has been replaced; files of it may be gone."""


class Files:
    """The files below one data folder, as the ledger knows them.

    A part is checked against its checksum when it is first read. One that is not what was written
    is never answered from: a writing process lets the catalog forget its rows, so that an ingest
    embeds them anew, and moves the file to `lost+found/`; a reading process leaves the rows out.
    """

    def __init__(self, layout: Layout, database: Database, reached: Reached) -> None:
        self._layout = layout
        self._database = database
        self.ledger = Ledger(database)
        self.writing = database.writing
        self._reached = reached
        self._checked: set[int] = set()
        self._noting = Lock()
        self.unreadable: dict[int, str] = {}  # by part, of a process that only reads: why
        self.condemned = 0  # how often the catalog was made to forget a part
        self._beside = ThreadPoolExecutor(1, "part")

    def close(self) -> None:
        """End the thread that helps to write."""
        self._beside.shutdown()

    def beside(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> "Future[T]":
        """Begin a call on the thread that helps to write, after those begun before."""
        return self._beside.submit(call, *args, **options)

    def publish(
        self,
        made: Callable[[], pa.Table],
        space_id: int,
        kind: str,
        held: Sequence[Holding],
        *fresh: Piece,
    ) -> Part:
        """Write a part for good; it counts once a ledger commit names it.

        What it is to be called and to say is looked up while its rows are `made`.
        """
        digest = self.beside(lambda: rows_digest(made()))
        part_id = self.ledger.draw("file_ids")
        path = self._layout.part(space_id, part_id)
        space = describe_space(self._database, space_id)
        contents = describe(self._database, space_id, held, fresh)
        table = made()
        sums: list[str] = []

        def footer() -> Footer:
            return Footer(FORMAT, part_id, kind, space, contents, digest.result())

        def read(written: Path) -> Callable[[], None]:
            found = self.beside(checksum, written)
            return lambda: sums.append(found.result())

        publish(
            path,
            lambda file: write_part(table, footer, file),
            what=kind,
            reached=self._reached,
            read=read,
        )
        relative, size = self._layout.relative(path), path.stat().st_size
        return Part(part_id, space_id, kind, relative, len(table), size, sums[0], FORMAT)

    def blank(self, space_id: int, held: Holding, piece: Piece) -> Blank:
        """Return what another process has to know to write a part; nothing of it counts yet."""
        part_id = self.ledger.draw("file_ids")
        make_folder(self._layout.drafts)
        [contents] = describe(self._database, space_id, [held], [piece])
        return Blank(
            video_id=held.video_id,
            space_id=space_id,
            sampling=held.sampling,
            part_id=part_id,
            path=self._layout.part(space_id, part_id),
            draft=self._layout.drafts / f"{part_id:010d}.parquet",
            space=describe_space(self._database, space_id),
            contents=contents,
        )

    def take(self, written: WrittenPart) -> Part:
        """Give a draft its name; it counts once a ledger commit names it."""
        blank = written.blank
        try:
            found = blank.draft.stat().st_size
        except OSError as error:
            raise StoreError(f"{blank.draft} cannot be read: {error.strerror}") from error
        if found != written.size_bytes:
            raise StoreError(f"{blank.draft} has {found} bytes, not {written.size_bytes}")
        make_folder(blank.path.parent)
        give_name(blank.path, blank.draft, what=KIND, reached=self._reached)
        return Part(
            blank.part_id,
            blank.space_id,
            KIND,
            self._layout.relative(blank.path),
            len(written.rows),
            written.size_bytes,
            written.checksum,
            FORMAT,
        )

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a part, or some of its columns; DamagedPartError unless it is what was written."""
        path = self._layout.root / part.path
        data = read_bytes(path)
        if part.part_id not in self._checked:
            if len(data) != part.size_bytes or hashlib.sha256(data).hexdigest() != part.checksum:
                raise DamagedPartError(f"{part.path} is not what was written")
            self._checked.add(part.part_id)
        table = parse_rows(data, path, columns)
        if part.format == 1 and (columns is None or "video_id" in columns):
            [video_id] = self.videos_of(part)
            table = table.add_column(0, "video_id", pa.array(np.full(len(table), video_id)))
        return table

    def check(self, part: Part) -> None:
        """Read a part that this process has not read yet; one that is damaged is condemned."""
        if part.part_id not in self._checked or not (self._layout.root / part.path).exists():
            self.readable(part, [])

    def read_afresh(self, part: Part) -> pa.Table:
        """Read a part and check it against its checksum, also if that was done before."""
        self._checked.discard(part.part_id)
        return self.read(part)

    def readable(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Read a part; one that is damaged is condemned, and None."""
        try:
            return self.read(part, columns)
        except DamagedPartError as error:
            self.condemn(part, str(error))
            return None

    def condemn(self, part: Part, reason: str) -> None:
        """Let nothing be answered from a part again; its rows that others hold are seen there."""
        with self._noting:
            if self._database.read_only:
                if self.superseded:
                    raise SupersededError(f"{reason}: the store has changed meanwhile; try again")
                if part.part_id not in self.unreadable:
                    _log.warning("%s: the answer does without its rows", reason)
                self.unreadable[part.part_id] = reason
                return
        with self._database.writing:
            if not self.ledger.has(part):  # replaced since it was looked up: nothing rests on it
                return
            _log.warning("%s: its rows are left out until an ingest embeds them anew", reason)
            path = self._layout.root / part.path
            if path.exists():
                set_aside(path, self._layout.lost_and_found)
            videos = self.videos_of(part)
            lost = self.ledger.seen_from(part)
            samplings = {
                (held.video_id, held.sampling)
                for held in self.ledger.holdings([part.part_id]).get(part.part_id, [])
            }
            commit_condemned(self._database, part, reason)
            self.condemned += 1
            self._show_again(part, sorted(videos), lost)
            if part.kind != "stretch":  # it may have held rows of other stretches than it names
                for video_id, sampling in samplings:
                    commit_shortfall(self._database, part.space_id, video_id, sampling, lost)

    def _show_again(self, gone: Part, video_ids: Sequence[int], lost: np.ndarray) -> None:
        """Let rows be seen from the other parts that have them, exact ones first."""
        for video_id in video_ids:
            shown = self.ledger.shown_sampling(video_id, gone.space_id)
            for part in self.ledger.parts(video_id=video_id, space_id=gone.space_id):
                if not self._holds(part, video_id, shown):
                    continue
                table = self.readable(part)
                if table is None:
                    continue
                again = np.isin(row_ids_of(table), lost)
                own = table.column("video_id").to_numpy() == video_id
                self.ledger.commit_shown(part, table.filter(pa.array(again & own)))

    def _holds(self, part: Part, video_id: int, sampling: Sampling | None) -> bool:
        held = self.ledger.holdings([part.part_id]).get(part.part_id, [])
        return any(item.video_id == video_id and item.sampling == sampling for item in held)

    def vectors(self, space_id: int, seen: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row ids and float16 vectors of rows (`row_id`, `part_id`, by part) file by file.

        Rows of a damaged part are left out; `condemned` or `unreadable` then tells so.
        """
        row_ids = seen.column("row_id").to_numpy()
        part_ids, starts = np.unique(seen.column("part_id").to_numpy(), return_index=True)
        parts = {part.part_id: part for part in self.ledger.parts(space_id=space_id)}
        stops = [*starts[1:], len(row_ids)]
        for part_id, start, stop in zip(part_ids, starts, stops, strict=False):
            part, wanted = parts.get(int(part_id)), row_ids[start:stop]
            if part is None:  # replaced or condemned since `seen` was read
                continue
            table = self.readable(part, ["video_id", "frame", "embedding"])
            if table is None:
                continue
            own = row_ids_of(table)
            here = np.isin(own, wanted)
            if int(here.sum()) != len(wanted):
                raise StoreError(f"the part {part.path} lacks rows that the catalog says it has")
            yield own[here], vectors_of(table)[here]

    @property
    def superseded(self) -> bool:
        """Whether a reading process sees another catalog than the one published last."""
        return self._database.read_only and newest_copy(self._layout) != self._database.path

    def discard(self) -> None:
        """Delete the files that nothing needs any more."""
        paths = self.ledger.discarded()
        for path in paths:
            (self._layout.root / path).unlink(missing_ok=True)
        if paths:
            self.ledger.commit_discarded(paths)

    def forget_clips(self, video_ids: Sequence[int]) -> None:
        """Delete the clips that were cut of videos: they can be cut again."""
        for video_id in video_ids:
            shutil.rmtree(self._layout.clips / str(video_id), ignore_errors=True)

    def videos_of(self, part: Part) -> set[int]:
        """Return the videos that have rows in a part."""
        held = self.ledger.holdings([part.part_id]).get(part.part_id, [])
        return {item.video_id for item in held}
