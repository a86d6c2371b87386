"""Every path on disk."""

from dataclasses import dataclass
from pathlib import Path

_PARTS_OF_A_FOLDER = 1000


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one data folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """The file that the writing process holds."""
        return self.root / "lock"

    @property
    def catalog(self) -> Path:
        """The DuckDB database of the writing process."""
        return self.root / "catalog.duckdb"

    @property
    def catalog_log(self) -> Path:
        """What has been committed since the catalog was last checkpointed."""
        return self.root / "catalog.duckdb.wal"

    @property
    def notes(self) -> Path:
        """What users have said of videos, by content, as the last published catalog has it."""
        return self.root / "notes.json"

    @property
    def published(self) -> Path:
        """The folder of the copy of the catalog that readers use: `published/<n>-<hash>.duckdb`."""
        return self.root / "published"

    @property
    def restoring(self) -> Path:
        """The mark of a restore that has not ended: the backup that it is from."""
        return self.root / "restoring"

    @property
    def parts(self) -> Path:
        """The folder of all Parquet parts: `parts/<space>/<thousand>/<part>.parquet`."""
        return self.root / "parts"

    @property
    def drafts(self) -> Path:
        """The folder of parts that other processes write; opening a store to write empties it."""
        return self.root / "drafts"

    @property
    def unfinished(self) -> Path:
        """What an ingest on a cluster was asked for, until it has come to its end."""
        return self.root / "unfinished.json"

    @property
    def indexes(self) -> Path:
        """The folder of all FAISS indexes: `indexes/<space>/<version>.faiss`."""
        return self.root / "indexes"

    @property
    def transcripts(self) -> Path:
        """The folder of what is said: `transcripts/<thousand>/<part>.parquet`."""
        return self.root / "transcripts"

    @property
    def lost_and_found(self) -> Path:
        """The folder of files that were set aside: unknown, damaged, or in the way."""
        return self.root / "lost+found"

    @property
    def cards(self) -> Path:
        """The folder of the cards of models that were checked: `cards/<space>.json` and `.md`."""
        return self.root / "cards"

    def card(self, space: str) -> Path:
        """Return the path of the card of a space."""
        return self.cards / f"{space}.json"

    @property
    def texts(self) -> Path:
        """The folder of the vectors of texts: `texts/<space>/<hash>`, a cache."""
        return self.root / "texts"

    @property
    def answers(self) -> Path:
        """What models replied, and what was asked in sessions; nothing rests on it."""
        return self.root / "answers.sqlite"

    @property
    def uploads(self) -> Path:
        """The folder for videos that were sent to the server."""
        return self.root / "uploads"

    @property
    def clips(self) -> Path:
        """The folder of clips that a server cut: `clips/<video>/<key>.mp4`, a cache."""
        return self.root / "clips"

    def part(self, space_id: int, part_id: int) -> Path:
        """Return the path of one part; numbers rise, so only the last folder of a space grows."""
        folder = f"{part_id // _PARTS_OF_A_FOLDER:06d}"
        return self.parts / str(space_id) / folder / f"{part_id:010d}.parquet"

    def transcript(self, part_id: int) -> Path:
        """Return the path of the lines of one source."""
        folder = f"{part_id // _PARTS_OF_A_FOLDER:06d}"
        return self.transcripts / folder / f"{part_id:010d}.parquet"

    def index(self, space_id: int, build: int) -> Path:
        """Return the path of one build of a space's index."""
        return self.indexes / str(space_id) / f"{build:010d}.faiss"

    def relative(self, path: Path) -> str:
        """Return a path below the data folder as the catalog writes it."""
        return path.relative_to(self.root).as_posix()
