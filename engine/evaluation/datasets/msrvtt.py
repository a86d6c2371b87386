"""MSR-VTT 1k-A: one caption for each of 1,000 test videos."""

from pathlib import Path

from engine.evaluation.datasets.base import Captioned, Dataset, check_keys, read_rows


def load_msrvtt(path: Path) -> Dataset:
    """Read `MSRVTT_JSFUSION_test.csv` (key, vid_key, video_id, sentence)."""
    rows = list(read_rows(path, ("key", "video_id", "sentence")))
    check_keys(path, (row["key"] for row in rows))
    return Dataset(
        name="msrvtt",
        captions=tuple(Captioned(r["key"], r["video_id"], r["sentence"]) for r in rows),
    )
