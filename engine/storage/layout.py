"""Every path on disk."""

from dataclasses import dataclass
from pathlib import Path


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
        """The DuckDB database."""
        return self.root / "catalog.duckdb"

    @property
    def parts(self) -> Path:
        """The folder of all Parquet parts: `parts/<space>/<video>/<part>.parquet`."""
        return self.root / "parts"

    @property
    def indexes(self) -> Path:
        """The folder of all FAISS indexes: `indexes/<space>/<version>.faiss`."""
        return self.root / "indexes"

    @property
    def uploads(self) -> Path:
        """The folder for videos that were sent to the server."""
        return self.root / "uploads"

    @property
    def clips(self) -> Path:
        """The folder of clips that a server cut: `clips/<video>/<key>.mp4`, a cache."""
        return self.root / "clips"

    def video_parts(self, space_id: int, video_id: int) -> Path:
        """Return the folder of one video's parts in one space."""
        return self.parts / str(space_id) / str(video_id)

    def part(self, space_id: int, video_id: int, part_id: int) -> Path:
        """Return the path of one part."""
        return self.video_parts(space_id, video_id) / f"{part_id:010d}.parquet"

    def index(self, space_id: int, build: int) -> Path:
        """Return the path of one build of a space's index."""
        return self.indexes / str(space_id) / f"{build:010d}.faiss"

    def relative(self, path: Path) -> str:
        """Return a path below the data folder as the catalog writes it."""
        return path.relative_to(self.root).as_posix()
