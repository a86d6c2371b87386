"""Part files: rows with their vectors, and a footer that tells whose they are without a catalog."""

import errno
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.errors import StoreError
from engine.storage.embeddings import vectors_of, with_packed_vectors

FORMAT = 2  # 1 had the rows of one video, and no footer of ours
SHARED = 0.9  # of the rows: where they have no more vectors than that, each is written once
_DICTIONARY_BYTES = 1 << 30  # beyond a dictionary's limit vectors would be written out again

_FOOTER, _SEAL = b"dejavu", b"dejavu-sha256"


class DamagedPartError(StoreError):
    """A part that is gone, cut short or not what was written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch as a footer tells it: `[start_seconds, stop_seconds)` by one strategy."""

    strategy: str
    stretch: int
    start_seconds: float
    stop_seconds: float
    num_frames: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a part holds of one video, and who the video is."""

    video: Mapping[str, Any]  # what the catalog knew: id, content hash, codec facts, status
    names: tuple[tuple[str, str], ...]  # with the path of each
    sampling: str  # as text: what a `Sampling` is read from
    pieces: tuple[Piece, ...]  # none in an overlay
    gops: tuple[tuple[int, float, float, int, int], ...]  # those that the pieces touch
    timeline: tuple[float, float, int] | None  # first second, last second, number of all GOPs
    planned: int | None = None  # rows of its sampling in all, where that is known


@dataclass(frozen=True, slots=True)
class Footer:
    """All that a catalog needs in order to take a part in."""

    format: int
    part_id: int
    kind: str
    space: Mapping[str, Any]
    contents: tuple[Contents, ...]
    rows_sha256: str

    def as_json(self) -> str:
        """Return the text that is written into the file."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Read what `as_json` has written."""
        known = json.loads(text)
        contents = tuple(_contents(item) for item in known.pop("contents"))
        return cls(**known, contents=contents)


def _contents(known: dict[str, Any]) -> Contents:
    names = tuple((name, path) for name, path in known.pop("names"))
    pieces = tuple(Piece(**piece) for piece in known.pop("pieces"))
    gops = tuple(tuple(gop) for gop in known.pop("gops"))
    timeline = known.pop("timeline")
    return Contents(
        **known,
        names=names,
        pieces=pieces,
        gops=gops,
        timeline=None if timeline is None else tuple(timeline),
    )


def write_part(table: pa.Table, footer: Callable[[], Footer], path: Path) -> None:
    """Write a part; vectors neither compress nor have bounds, so only the other columns do.

    Where rows share vectors, as carried ones do, each vector lies there once and the rows are runs
    of numbers of it; whoever reads them sees a vector in every row. The footer is asked for when
    the rows are written.
    """
    others = [name for name in table.schema.names if name != "embedding"]
    shared = ["embedding"] if _share_vectors(table) else []
    with pq.ParquetWriter(
        path,
        table.schema,
        compression=dict.fromkeys(others, "zstd"),
        use_dictionary=["picture", "strategy", *shared],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_statistics=others,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
        text = footer().as_json().encode()
        seal = hashlib.sha256(text).hexdigest().encode()
        writer.add_key_value_metadata({_FOOTER: text, _SEAL: seal})


def _share_vectors(table: pa.Table) -> bool:
    """Whether a file is smaller with each vector once, at a number for each row."""
    return pc.count_distinct(table.column("embedding")).as_py() <= SHARED * len(table)


def parse_rows(data: bytes, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows in a part's bytes, or some of their columns."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        chosen = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
        return with_packed_vectors(file.read(columns=chosen).replace_schema_metadata(None))
    except (OSError, pa.ArrowException) as error:
        raise DamagedPartError(f"{path.name} cannot be read: {_line(error)}") from error


def parse_part(path: Path) -> tuple[Footer, pa.Table]:
    """Return the footer and the rows of a part that vouches for itself, or DamagedPartError."""
    data = read_bytes(path)
    try:
        metadata = pq.read_metadata(pa.BufferReader(data)).metadata or {}
        text, seal = metadata[_FOOTER], metadata[_SEAL].decode()
        whole = hashlib.sha256(text).hexdigest() == seal
        footer = Footer.of_json(text.decode())
    except KeyError as error:
        raise DamagedPartError(f"{path.name} has no footer that tells whose it is") from error
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DamagedPartError(f"{path.name} cannot be read: {_line(error)}") from error
    table = parse_rows(data, path)
    if not whole or rows_digest(table) != footer.rows_sha256:
        raise DamagedPartError(f"{path.name} is not what was written")
    return footer, table


def read_bytes(path: Path) -> bytes:
    """Return a part's bytes."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedPartError(f"{path.name} is gone") from error
    except OSError as error:
        kind = DamagedPartError if error.errno == errno.EIO else StoreError  # a right may come back
        raise kind(f"{path} cannot be read: {error.strerror}") from error


def rows_digest(table: pa.Table) -> str:
    """Return the SHA-256 of rows, whatever file they lie in."""
    digest = hashlib.sha256()
    for name in table.schema.names:
        digest.update(f"{name}:{len(table)};".encode())
        if name == "embedding":
            digest.update(np.ascontiguousarray(vectors_of(table)).tobytes())
        elif pa.types.is_string(table.schema.field(name).type):
            digest.update("\0".join(map(str, table.column(name).to_pylist())).encode())
        else:
            column = table.column(name).to_numpy()  # a null becomes NaN
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
