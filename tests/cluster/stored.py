"""What lies in a store's Parquet files, read by pyarrow and numpy alone."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

Row = tuple[str, int]  # a video's content hash and a frame's number


def rows_in(folder: Path) -> dict[Row, tuple[float, str, bytes]]:
    """Return time, strategy and the vector's bytes of each row; no row may be there twice."""
    found: dict[Row, tuple[float, str, bytes]] = {}
    seen = Counter[Row]()
    for path in sorted((folder / "parts").rglob("*.parquet")):
        file = pq.ParquetFile(path)
        footer = json.loads(file.metadata.metadata[b"dejavu"])
        hashes = {
            item["video"]["video_id"]: item["video"]["content_hash"] for item in footer["contents"]
        }
        table = file.read()
        vectors = table.column("embedding").combine_chunks()
        width = vectors.type.byte_width
        packed = np.frombuffer(vectors.buffers()[1], np.uint8).reshape(-1, width)
        told = (table.column(name).to_pylist() for name in ("seconds", "strategy"))
        videos, frames = (table.column(name).to_pylist() for name in ("video_id", "frame"))
        rows = zip(videos, frames, *told, packed, strict=True)
        for video, frame, seconds, strategy, vector in rows:
            row = hashes[video], frame
            seen[row] += 1
            found[row] = seconds, strategy, vector.tobytes()
    assert {row: count for row, count in seen.items() if count > 1} == {}
    return found
