"""What random statements are made of: relations, columns that shadow, values, tables at hand."""

from dataclasses import dataclass
from random import Random
from typing import Final

TEXTS = ("a dog", "a cat", "a red car")
RELATIONS: Final = {
    "frames": {
        "video_id": "n",
        "frame": "n",
        "seconds": "n",
        "picture": "t",
        "exact": "b",
        '"at"': "d",
    },
    "videos": {
        "video_id": "n",
        "name": "t",
        "duration_seconds": "n",
        "width": "n",
        "error": "t",
        "num_frames": "n",
        "codec": "t",
        "camera": "t",
        "lanes": "n",
        "kept": "b",
        "recorded_at": "d",
    },
    "gops": {
        "video_id": "n",
        "gop": "n",
        "start_seconds": "n",
        "stop_seconds": "n",
        "num_frames": "n",
    },
}
VIEWS: Final = {
    "dogs": "SELECT f.*, CLIP_MATCH(f.frame, 'a dog') AS dog FROM frames f",
    "known": "SELECT * FROM videos WHERE camera IS NOT NULL",
    "lasting": "SELECT video_id, max(seconds) AS seconds, count(*) AS n FROM frames GROUP BY 1",
}
OF_VIEWS: Final = {
    "dogs": {**RELATIONS["frames"], "dog": "f"}, "known": RELATIONS["videos"],
    "lasting": {"video_id": "n", "seconds": "n", "n": "n"},
}  # fmt: skip
SHADOWS = ("seconds", "video_id", "frame", "name", "s", "score", "x")
VALUES: Final = {
    "video_id": ("1", "2", "3", "6", "9"), "frame": ("1003", "2001", "4005"), "gop": ("0", "1"),
    "seconds": ("0.5", "1", "2"), "start_seconds": ("0", "1"), "stop_seconds": ("1", "3"),
    "duration_seconds": ("3", "4.5"), "width": ("64", "200"), "num_frames": ("70", "90"),
    "picture": ("'I'", "'P'"), "name": ("'v1.mp4'", "'v4.mp4'"), "codec": ("'h264'",),
    "camera": ("'north'", "'x'"), "lanes": ("2", "3.5"), "kept": ("true",),
    "error": ("'no video stream'",), "exact": ("true", "false"),
    '"at"': ("'2026-03-01 08:00:01'", "TIMESTAMP '2026-03-02'"),
    "recorded_at": ("TIMESTAMP '2026-03-01'", "'2026-03-01 08:00:00'"),
}  # fmt: skip


@dataclass
class Table:
    """What a FROM clause offers: columns by name with their kind, and whether frames can be scored.

    Of `same` tables the videos' ids are known to be joinable.
    """

    alias: str
    columns: dict[str, str]
    handle: bool = False


def of_instant(random: Random, written: str, value: str) -> tuple[str, str]:
    """Return a part of an instant, and what it may be compared with."""
    unit = random.choice(("year", "month", "day", "hour", "minute", "second"))
    if random.random() < 0.5:
        bare = value.removeprefix("TIMESTAMP ")
        cut = f"date_trunc('{unit}', TIMESTAMP {bare})"
        return f"date_trunc('{unit}', {written})", random.choice((cut, cut, value))
    part = random.choice((f"{unit}({written})", f"extract({unit} FROM {written})"))
    return part, str(random.choice((0, 1, 2, 3, 8, 23, 59, 2026)))


def all_columns(tables: list[Table]) -> str:
    """Return all columns of tables, for an order that leaves no choice."""
    return ", ".join(f"{table.alias}.{name}" for table in tables for name in table.columns)
