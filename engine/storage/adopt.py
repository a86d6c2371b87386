"""A finished part that the catalog does not know is taken in: its footer tells where it belongs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.storage.changes import add_part, add_stretch, ensure_segment, show
from engine.storage.database import Database, insert, next_id, now, update
from engine.storage.durable import checksum, set_aside
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.parts import FORMAT, Contents, Footer
from engine.storage.records import Holding, Part, SegmentKey, VideoStatus
from engine.storage.sampling import Sampling
from engine.storage.whole import commit_whole


class StrangerError(Exception):
    """A part belongs to a video or a space that the catalog does not know."""


@dataclass(slots=True)
class Adoption:
    """Takes parts in; `creates` what they name and the catalog lacks, else raises StrangerError."""

    layout: Layout
    database: Database
    files: Files
    creates: bool
    gops: dict[int, dict[int, tuple[Any, ...]]] = field(default_factory=dict)  # of added videos
    timelines: dict[int, tuple[float, float, int]] = field(default_factory=dict)  # theirs
    # to which something was added, with how many rows they have in all where that is known
    streams: dict[SegmentKey, int | None] = field(default_factory=dict)

    def reserve(self, footers: Sequence[Footer]) -> None:
        """Give out no number that a part or a video of these has."""
        ledger = self.files.ledger
        videos = [int(item.video["video_id"]) for footer in footers for item in footer.contents]
        ledger.commit_numbers("file_ids", max((footer.part_id for footer in footers), default=0))
        ledger.commit_numbers("video_ids", max(videos, default=0))

    def take_in(self, path: Path, footer: Footer, table: pa.Table) -> None:
        """Let the catalog know a part: its stretches as committed, its rows as seen."""
        space_id = self._space(footer.space)
        ids = {int(item.video["video_id"]): self._video(item) for item in footer.contents}
        held = [
            held
            for item in footer.contents
            for held in _held(ids[int(item.video["video_id"])], item)
        ]
        known = {part.part_id for part in self.files.ledger.parts()}
        self._note_stretches(space_id, ids, footer)
        if all(old == new for old, new in ids.items()) and footer.part_id not in known:
            part = self._as_it_is(path, footer, space_id, table)
        else:
            part = self._renumbered(path, footer, space_id, ids, table, held)
            table = _with_ids(table, ids)
        with self.database.transaction() as cursor:
            add_part(cursor, part, held)
            shown = self._shown(space_id, footer, ids)
            own = np.isin(table.column("video_id").to_numpy(), sorted(shown))
            show(cursor, part, table.filter(pa.array(own)))

    def _as_it_is(self, path: Path, footer: Footer, space_id: int, table: pa.Table) -> Part:
        relative, size = self.layout.relative(path), path.stat().st_size
        return Part(
            footer.part_id,
            space_id,
            footer.kind,
            relative,
            len(table),
            size,
            checksum(path),
            FORMAT,
        )

    def _renumbered(
        self,
        path: Path,
        footer: Footer,
        space_id: int,
        ids: Mapping[int, int],
        table: pa.Table,
        held: list[Holding],
    ) -> Part:
        """Write a part anew whose numbers other videos or parts have by now."""
        own = _with_ids(table, ids)
        part = self.files.publish(lambda: own, space_id, footer.kind, held)
        set_aside(path, self.layout.lost_and_found)
        return part

    def _shown(self, space_id: int, footer: Footer, ids: Mapping[int, int]) -> set[int]:
        shown = self.files.ledger.shown_sampling
        return {
            ids[int(item.video["video_id"])]
            for item in footer.contents
            if shown(ids[int(item.video["video_id"])], space_id) == Sampling.parse(item.sampling)
        }

    def _note_stretches(self, space_id: int, ids: Mapping[int, int], footer: Footer) -> None:
        ledger = self.files.ledger
        for item in footer.contents:
            video_id = ids[int(item.video["video_id"])]
            if video_id in self.gops:
                self.gops[video_id] |= {gop[0]: gop for gop in item.gops}
            sampling = Sampling.parse(item.sampling)
            shown = ledger.shown_sampling(video_id, space_id)
            is_shown = shown in (None, sampling)
            strategies = {piece.strategy for piece in item.pieces}
            if shown != sampling:  # an overlay of rows that are lost stands alone
                strategies = strategies or {"dense"}
            for strategy in strategies:
                key = SegmentKey(video_id, space_id, sampling, strategy)
                committed = ledger.committed(key)
                known = [n for n in (self.streams.get(key), item.planned) if n is not None]
                self.streams[key] = max(known, default=None)
                with self.database.transaction() as cursor:
                    ensure_segment(cursor, key, shown=is_shown)
                    for piece in item.pieces:
                        if piece.strategy == strategy and piece.stretch not in committed:
                            span = (piece.start_seconds, piece.stop_seconds)
                            add_stretch(cursor, key, piece.stretch, *span, piece.num_frames)

    def settle(self) -> None:
        """Say how far the videos are of which something was taken in."""
        for video_id, gops in self.gops.items():
            timeline = self.timelines.get(video_id)
            if timeline is not None and len(gops) == timeline[2]:  # else an ingest looks again
                with self.database.transaction() as cursor:
                    for gop in gops.values():
                        cursor.execute(
                            "INSERT INTO gops VALUES (?, ?, ?, ?, ?, ?)", [video_id, *gop]
                        )
        for key, planned in self.streams.items():
            commit_whole(self.database, key, self.timelines.get(key.video_id), planned)
        if self.database.one("SELECT 1 FROM settings WHERE name = 'space'") is None:
            with self.database.transaction() as cursor:
                cursor.execute(
                    "INSERT INTO settings SELECT 'space', space_key FROM spaces JOIN stored_frames"
                    " USING (space_id) JOIN videos USING (video_id) WHERE status <> 'registered'"
                    " GROUP BY space_key ORDER BY count(*) DESC LIMIT 1"
                )

    def _space(self, space: Mapping[str, object]) -> int:
        found = self.database.one(
            "SELECT space_id FROM spaces WHERE space_key = ?", [space["space_key"]]
        )
        if found is not None:
            return int(found[0])
        if not self.creates:
            raise StrangerError(f"space {space['space_key']}")
        with self.database.transaction() as cursor:
            space_id = next_id(cursor, "space_ids")
            insert(cursor, "spaces", {"space_id": space_id, **space, "added_at": now()})
        return space_id

    def _video(self, contents: Contents) -> int:
        video = contents.video
        found = self.database.one(
            "SELECT video_id FROM videos WHERE content_hash = ?", [video["content_hash"]]
        )
        if found is not None:
            self._ask_for_rows(int(found[0]), contents)
            return int(found[0])
        if not self.creates:
            raise StrangerError(
                contents.names[0][0] if contents.names else "a video without a name"
            )
        video_id = self._add_video(contents)
        if contents.timeline is not None:
            self.timelines[video_id] = contents.timeline
        self.gops[video_id] = {}
        return video_id

    def _ask_for_rows(self, video_id: int, contents: Contents) -> None:
        """Note of a video that was added that it was to be embedded, where any part says so."""
        if video_id in self.gops and _status(contents) == "ingesting":
            with self.database.transaction() as cursor:
                update(cursor, "videos", {"status": "ingesting"}, "video_id = ?", [video_id])

    def _add_video(self, contents: Contents) -> int:
        video, video_id = dict(contents.video), int(contents.video["video_id"])
        taken = {row[0] for row in self.database.all("SELECT name FROM aliases")}
        names = [(name, path) for name, path in contents.names if name not in taken]
        if not names:
            names = [(f"{video['content_hash'][:12]}", contents.names[0][1])]
        with self.database.transaction() as cursor:
            if cursor.execute("SELECT 1 FROM videos WHERE video_id = ?", [video_id]).fetchall():
                video_id = next_id(cursor, "video_ids")
            first = {"name": names[0][0], "path": names[0][1], "ingested_at": now()}
            own = {**video, "video_id": video_id, **first, "status": _status(contents)}
            insert(cursor, "videos", own)
            for name, path in names:
                alias = {"name": name, "video_id": video_id, "path": path, "added_at": now()}
                insert(cursor, "aliases", alias)
        return video_id


def _status(contents: Contents) -> VideoStatus:
    """Return whether a video was to be embedded; a part of one that was not holds labels alone."""
    return "registered" if contents.video.get("status") == "registered" else "ingesting"


def _held(video_id: int, contents: Contents) -> list[Holding]:
    """Return the holdings of a video in a part; an overlay has one without a stretch."""
    sampling = Sampling.parse(contents.sampling)
    if not contents.pieces:
        return [Holding(video_id, sampling)]
    return [Holding(video_id, sampling, p.strategy, p.stretch) for p in contents.pieces]


def _with_ids(table: pa.Table, ids: Mapping[int, int]) -> pa.Table:
    """Return rows with the numbers that their videos have in this catalog."""
    old = table.column("video_id").to_numpy()
    new = np.array([ids[int(video_id)] for video_id in old], np.int64)
    return table.set_column(0, table.schema.field("video_id"), pa.array(new))
