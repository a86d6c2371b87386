"""The tables that the engine stores and returns, as Arrow schemas."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa


def _columns(*columns: tuple[str, pa.DataType], required: str) -> pa.Schema:
    names = set(required.split())
    return pa.schema([pa.field(name, kind, nullable=name not in names) for name, kind in columns])


_I32, _I64, _F32, _F64 = pa.int32(), pa.int64(), pa.float32(), pa.float64()
_TEXT, _BOOL, _TIME = pa.string(), pa.bool_(), pa.timestamp("us")  # times are UTC, JSON is text

VIDEOS: Final = _columns(
    ("video_id", _I64),
    ("name", _TEXT),
    ("path", _TEXT),
    ("content_hash", _TEXT),
    ("duration_seconds", _F64),
    ("fps", _F64),
    ("width", _I32),
    ("height", _I32),
    ("codec", _TEXT),
    ("num_frames", _I64),
    ("size_bytes", _I64),
    ("ingested_at", _TIME),
    ("status", _TEXT),
    ("error", _TEXT),
    ("report", _TEXT),
    ("recorded_at", _TIME),
    ("recorded_from", _TEXT),  # given, name or metadata
    required="video_id name path ingested_at status",
)
ALIASES: Final = _columns(
    ("name", _TEXT),
    ("video_id", _I64),
    ("path", _TEXT),
    ("added_at", _TIME),
    required="name video_id path added_at",
)
GOPS: Final = _columns(
    ("video_id", _I64),
    ("gop", _I32),
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    ("num_frames", _I32),
    ("key_pts", _I64),
    required="video_id gop start_seconds stop_seconds num_frames key_pts",
)
SPACES: Final = _columns(
    ("space_id", _I32),
    ("space_key", _TEXT),
    ("name", _TEXT),
    ("model", _TEXT),
    ("revision", _TEXT),
    ("weight_hash", _TEXT),
    ("preprocessing", _TEXT),
    ("dimension", _I32),
    ("added_at", _TIME),
    required="space_id space_key name model revision weight_hash preprocessing dimension added_at",
)
SEGMENTS: Final = _columns(
    ("video_id", _I64),
    ("space_id", _I32),
    ("sampling", _TEXT),
    ("strategy", _TEXT),
    ("shown", _BOOL),  # its rows are the ones that queries see
    ("num_frames", _I64),  # promised when it was finished; null until then
    ("finished_at", _TIME),
    required="video_id space_id sampling strategy shown",
)
STRETCHES: Final = _columns(
    ("video_id", _I64),
    ("space_id", _I32),
    ("sampling", _TEXT),
    ("strategy", _TEXT),
    ("stretch", _I32),
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    ("num_frames", _I32),
    required="video_id space_id sampling strategy stretch start_seconds stop_seconds num_frames",
)
PARTS: Final = _columns(
    ("part_id", _I64),
    ("space_id", _I32),
    ("kind", _TEXT),  # stretch, overlay or compacted
    ("path", _TEXT),  # below the data folder
    ("num_rows", _I64),
    ("size_bytes", _I64),
    ("checksum", _TEXT),
    ("format", _I32),  # 1: rows of one video, nothing in the footer that tells whose
    required="part_id space_id kind path num_rows size_bytes checksum format",
)
HOLDINGS: Final = _columns(
    ("part_id", _I64),
    ("video_id", _I64),
    ("sampling", _TEXT),
    ("strategy", _TEXT),  # of a stretch whose rows the part holds; null in an overlay
    ("stretch", _I32),
    required="part_id video_id sampling",
)
DISCARDED: Final = _columns(("path", _TEXT), required="path")
STORED_FRAMES: Final = _columns(
    ("space_id", _I32),
    ("row_id", _I64),
    ("video_id", _I64),
    ("frame", _I32),
    ("seconds", _F64),
    ("picture", _TEXT),
    ("strategy", _TEXT),
    ("reuse_rate", _F32),
    ("drift", _F32),
    ("exact", _BOOL),
    ("part_id", _I64),  # the part that holds its vector
    ("version", _I64),  # when its vector last changed
    required="space_id row_id video_id frame seconds picture strategy reuse_rate exact part_id"
    " version",
)
INDEXES: Final = _columns(
    ("space_id", _I32),
    ("path", _TEXT),  # below the data folder
    ("checksum", _TEXT),
    ("kind", _TEXT),
    ("num_rows", _I64),  # tombstones included
    ("version", _I64),  # holds every row whose version is at most this
    ("built_at", _TIME),
    required="space_id path checksum kind num_rows version built_at",
)
JOBS: Final = _columns(
    ("job_id", _TEXT),
    ("kind", _TEXT),
    ("status", _TEXT),
    ("request", _TEXT),
    ("progress", _TEXT),
    ("error", _TEXT),
    ("created_at", _TIME),
    ("started_at", _TIME),
    ("finished_at", _TIME),
    required="job_id kind status request created_at",
)
CALIBRATION: Final = _columns(
    ("space_id", _I32),
    ("kind", _TEXT),  # rates, null, residuals or mean
    ("value", _TEXT),
    ("updated_at", _TIME),
    required="space_id kind value updated_at",
)
SETTINGS: Final = _columns(("name", _TEXT), ("value", _TEXT), required="name value")
USER_COLUMNS: Final = _columns(
    ("name", _TEXT),
    ("kind", _TEXT),  # text, number, bool or timestamp
    required="name kind",
)
CELLS: Final = _columns(
    ("video_id", _I64),
    ("name", _TEXT),  # of a user column
    ("value", _TEXT),
    required="video_id name value",
)
TRANSCRIPTS: Final = _columns(
    ("part_id", _I64),
    ("video_id", _I64),
    ("source", _TEXT),
    ("language", _TEXT),
    ("digest", _TEXT),  # of what was read
    ("path", _TEXT),  # below the data folder
    ("num_lines", _I64),
    ("damaged", _I64),  # cues
    ("damage", _TEXT),
    ("size_bytes", _I64),
    ("checksum", _TEXT),
    ("added_at", _TIME),
    required="part_id video_id source digest path num_lines damaged size_bytes checksum added_at",
)
SAVED_VIEWS: Final = _columns(
    ("name", _TEXT),
    ("sql", _TEXT),
    ("created_at", _TIME),
    required="name sql created_at",
)

FRAMES: Final = _columns(
    ("video_id", _I64),
    ("frame", _I32),
    ("seconds", _F64),
    ("picture", _TEXT),
    ("strategy", _TEXT),
    ("reuse_rate", _F32),
    ("drift", _F32),
    ("exact", _BOOL),
    ("at", _TIME),  # when it was recorded, where that is known of its video
    required="",
)
CLIPS: Final = _columns(
    ("video_id", _I64),
    ("clip", _I32),
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    required="video_id clip start_seconds stop_seconds",
)
DETECTIONS: Final = _columns(
    ("video_id", _I64),
    ("frame", _I32),
    ("seconds", _F64),
    ("label", _TEXT),
    ("score", _F64),
    ("x0", _F64),  # the box's sides, in shares of the picture's width and height
    ("y0", _F64),
    ("x1", _F64),
    ("y1", _F64),
    ("track", _I64),  # the same for boxes of one thing of a video
    required="video_id frame seconds label score x0 y0 x1 y1 track",
)
LINES: Final = _columns(
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    ("text", _TEXT),
    required="start_seconds stop_seconds text",
)
TRANSCRIPT: Final = _columns(
    ("video_id", _I64),
    ("line", _I32),  # its number among those of its source
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    ("text", _TEXT),
    ("language", _TEXT),
    ("source", _TEXT),
    required="video_id line start_seconds stop_seconds text source",
)
NEAREST: Final = _columns(
    ("video_id", _I64),
    ("frame", _I32),
    ("seconds", _F64),
    ("place", _I32),  # 1: the nearest
    ("near_video_id", _I64),
    ("near_frame", _I32),
    ("near_seconds", _F64),
    ("score", _F64),  # the cosine of the two
    required="video_id frame seconds place near_video_id near_frame near_seconds score",
)
STEP: Final = pa.schema(
    [(name, _F64) for name in ("start_seconds", "stop_seconds", "peak_seconds", "score")]
)
MOMENTS: Final = _columns(
    ("video_id", _I64),
    ("start_seconds", _F64),
    ("stop_seconds", _F64),
    ("peak_seconds", _F64),
    ("score", _F64),
    ("steps", pa.list_(pa.struct(list(STEP)))),
    required="video_id start_seconds stop_seconds peak_seconds score steps",
)
MOMENTS_OF_TEXTS: Final = MOMENTS.append(pa.field("text", _TEXT, nullable=False))

CATALOG: Final[Mapping[str, pa.Schema]] = {
    "videos": VIDEOS,
    "aliases": ALIASES,
    "gops": GOPS,
    "spaces": SPACES,
    "segments": SEGMENTS,
    "stretches": STRETCHES,
    "parts": PARTS,
    "holdings": HOLDINGS,
    "discarded": DISCARDED,
    "stored_frames": STORED_FRAMES,
    "indexes": INDEXES,
    "jobs": JOBS,
    "calibration": CALIBRATION,
    "settings": SETTINGS,
    "user_columns": USER_COLUMNS,
    "cells": CELLS,
    "saved_views": SAVED_VIEWS,
    "transcripts": TRANSCRIPTS,
    "frames": FRAMES,  # a view: the stored frames of the current space
}


def embeddings(dimension: int) -> pa.Schema:
    """Return the schema of a part: what is known of each frame, and its vector in float16.

    A vector is one value of `2 * dimension` bytes: Parquet writes and reads that many times faster
    than a list of numbers.
    """
    return _columns(
        ("video_id", _I64),
        ("frame", _I32),
        ("seconds", _F64),
        ("picture", _TEXT),
        ("strategy", _TEXT),
        ("reuse_rate", _F32),
        ("drift", _F32),
        ("exact", _BOOL),
        ("embedding", pa.binary(2 * dimension)),
        required="video_id frame seconds picture strategy reuse_rate exact embedding",
    )
