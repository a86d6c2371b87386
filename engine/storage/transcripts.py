"""What is said in videos: a Parquet file for each source of lines, checked when it is read."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import NotFoundError, unknown
from engine.storage.database import Database, insert, next_id, now
from engine.storage.durable import Reached, checksum, publish, set_aside
from engine.storage.layout import Layout
from engine.storage.parts import DamagedPartError, read_bytes, rows_digest
from engine.storage.records import Transcript
from schemas.tables import LINES, TRANSCRIPTS

_log = logging.getLogger(__name__)
_FORMAT: Final = 1
_FOOTER, _SEAL = b"dejavu-transcript", b"dejavu-sha256"
_COLUMNS: Final = ", ".join(TRANSCRIPTS.names)


@dataclass(frozen=True, slots=True)
class Said:
    """The lines of one source of a video, and where they are from."""

    source: str  # a file's name, or a stream of the video's
    language: str | None
    digest: str  # of what they were read from: the same is not read twice
    lines: pa.Table  # as `LINES`, in the order of their times
    damaged: int = 0
    damage: str | None = None  # the first


class Transcripts:
    """The transcripts of a store; every method may be called from any thread."""

    def __init__(self, layout: Layout, database: Database, reached: Reached) -> None:
        self._layout, self._database, self._reached = layout, database, reached
        self._checked: set[int] = set()

    @property
    def state(self) -> tuple[Path, int]:
        """What is another value whenever what is stored may have changed."""
        return self._database.path, self._database.changes

    def listed(self, video_ids: Sequence[int] | None = None) -> list[Transcript]:
        """Return what is stored, of some videos or of all, by video and source."""
        chosen = "" if video_ids is None else "WHERE video_id IN (SELECT unnest(?::BIGINT[]))"
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM transcripts {chosen} ORDER BY video_id, source",
            [] if video_ids is None else [list(video_ids)],
        )
        return [Transcript(*row) for row in rows]

    def put(self, video_id: int, said: Said) -> Transcript:
        """Commit lines, durably on return, in the place of those of the same source."""
        database = self._database
        with database.writing:
            found = database.one("SELECT content_hash FROM videos WHERE video_id = ?", [video_id])
            if found is None:
                raise NotFoundError(f"no video {video_id}")
            with database.transaction() as cursor:
                part_id = next_id(cursor, "file_ids")
            path = self._layout.transcript(part_id)
            footer = {
                "format": _FORMAT,
                "part_id": part_id,
                "content_hash": found[0],
                **{name: getattr(said, name) for name in _TOLD},
                "rows_sha256": rows_digest(said.lines),
            }
            publish(
                path,
                lambda file: _write(said.lines, footer, file),
                what="transcript",
                reached=self._reached,
            )
            part = _described(self._layout, path, video_id, footer, len(said.lines))
            self._commit(part)
            self._reached("transcript: committed")
        return part

    def remove(self, video_id: int, source: str | None = None) -> int:
        """Forget the lines of a video, of one source or of all; return how many sources."""
        with self._database.writing:
            known = self.listed([video_id])
            gone = [part for part in known if source in (None, part.source)]
            if source is not None and not gone:
                raise NotFoundError(unknown("source", source, [part.source for part in known]))
            with self._database.transaction() as cursor:
                for part in gone:
                    _discard(cursor, part)
        return len(gone)

    def lines(self, part: Transcript) -> pa.Table | None:
        """Return a transcript's lines; None where the file is damaged, which then counts no more.

        A writing process sets it aside, so that the next ingest reads its source again.
        """
        try:
            return self.read(part)
        except DamagedPartError as error:
            self.condemn(part, str(error))
            return None

    def read(self, part: Transcript, *, afresh: bool = False) -> pa.Table:
        """Read a transcript; DamagedPartError unless it is what was written."""
        path = self._layout.root / part.path
        data = read_bytes(path)
        if afresh or part.part_id not in self._checked:
            if len(data) != part.size_bytes or hashlib.sha256(data).hexdigest() != part.checksum:
                raise DamagedPartError(f"{part.path} is not what was written")
            self._checked.add(part.part_id)
        return _parse(data, path)[1]

    def condemn(self, part: Transcript, reason: str) -> None:
        """Let nothing be answered from a damaged file again."""
        if self._database.read_only:
            _log.warning("%s: the answer does without its lines", reason)
            return
        with self._database.writing:
            if part not in self.listed([part.video_id]):  # replaced since it was looked up
                return
            _log.warning("%s: `transcripts scan` reads its source again", reason)
            path = self._layout.root / part.path
            if path.exists():
                set_aside(path, self._layout.lost_and_found)
            with self._database.transaction() as cursor:
                cursor.execute("DELETE FROM transcripts WHERE part_id = ?", [part.part_id])

    def take_in(self, path: Path) -> bool:
        """Let the catalog know a finished file; False where its video is gone or has newer lines.

        Raises DamagedPartError for one that does not vouch for itself.
        """
        footer, lines = _parse(read_bytes(path), path)
        found = self._database.one(
            "SELECT video_id FROM videos WHERE content_hash = ?", [footer["content_hash"]]
        )
        if found is None:
            return False
        known = {part.source: part.part_id for part in self.listed([int(found[0])])}
        if known.get(footer["source"], 0) > footer["part_id"]:
            return False
        self._commit(_described(self._layout, path, int(found[0]), footer, len(lines)))
        return True

    def _commit(self, part: Transcript) -> None:
        with self._database.transaction() as cursor:
            for former in self.listed([part.video_id]):
                if former.source == part.source:
                    _discard(cursor, former)
            insert(cursor, "transcripts", {name: getattr(part, name) for name in TRANSCRIPTS.names})


_TOLD: Final = ("source", "language", "digest", "damaged", "damage")


def _discard(cursor: Any, part: Transcript) -> None:
    cursor.execute("INSERT INTO discarded VALUES (?)", [part.path])
    cursor.execute("DELETE FROM transcripts WHERE part_id = ?", [part.part_id])


def _described(
    layout: Layout, path: Path, video_id: int, footer: dict[str, Any], num_lines: int
) -> Transcript:
    return Transcript(
        part_id=footer["part_id"],
        video_id=video_id,
        **{name: footer[name] for name in _TOLD},
        path=layout.relative(path),
        num_lines=num_lines,
        size_bytes=path.stat().st_size,
        checksum=checksum(path),
        added_at=now(),
    )


def _write(lines: pa.Table, footer: dict[str, Any], path: Path) -> None:
    text = json.dumps(footer, separators=(",", ":")).encode()
    sealed = {_FOOTER: text, _SEAL: hashlib.sha256(text).hexdigest().encode()}
    pq.write_table(
        lines.replace_schema_metadata(sealed), path, compression="zstd", write_page_checksum=True
    )


def _parse(data: bytes, path: Path) -> tuple[dict[str, Any], pa.Table]:
    """Return the footer and the lines in a file's bytes, or DamagedPartError."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = file.metadata.metadata or {}
        text, seal = metadata[_FOOTER], metadata[_SEAL].decode()
        footer = json.loads(text.decode())
        lines = file.read().replace_schema_metadata(None).cast(LINES)
        whole = hashlib.sha256(text).hexdigest() == seal and footer["format"] == _FORMAT
        if not whole or rows_digest(lines) != footer["rows_sha256"]:
            raise DamagedPartError(f"{path.name} is not what was written")
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        said = str(error).splitlines()[:1]
        raise DamagedPartError(f"{path.name} cannot be read: {''.join(said)}") from error
    return dict(footer), lines
