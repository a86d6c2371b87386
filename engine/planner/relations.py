"""What a statement may read: relations with their columns, functions with their forms."""

from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

import pyarrow as pa

from engine.storage.records import ColumnKind
from engine.storage.user_columns import ARROW
from schemas.tables import (
    CLIPS,
    DETECTIONS,
    FRAMES,
    GOPS,
    MOMENTS,
    NEAREST,
    TRANSCRIPT,
    VIDEOS,
)

_VIDEOS = (
    "video_id name path duration_seconds fps width height codec num_frames ingested_at status error"
    " recorded_at recorded_from"
)
_GOPS = "video_id gop start_seconds stop_seconds num_frames"


def _pick(schema: pa.Schema, names: str) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names.split()])


RELATIONS: Final = MappingProxyType(
    {
        "videos": _pick(VIDEOS, _VIDEOS).append(pa.field("folder", pa.string())),
        "gops": _pick(GOPS, _GOPS),
        "frames": FRAMES,
        "clips": CLIPS,
        "detections": DETECTIONS,
        "moments": MOMENTS,
        "nearest": NEAREST,
        "transcript": TRANSCRIPT,
    }
)

NEED_ARGUMENTS: Final = ("moments", "nearest")

Columns: TypeAlias = tuple[tuple[str, ColumnKind], ...]  # that users have added to videos


@lru_cache(maxsize=64)
def schema_of(relation: str, columns: Columns, *, timed: bool = False) -> pa.Schema:
    """Return the columns of a relation, those that users have added to videos included.

    Of `timed` GOPs it is known besides when they were recorded, where it is of their video.
    """
    schema = RELATIONS[relation]
    for name in ("start_at", "stop_at") if timed else ():
        schema = schema.append(pa.field(name, FRAMES.field("at").type))
    for name, kind in columns if relation == "videos" else ():
        schema = schema.append(pa.field(name, ARROW[kind]))
    return schema


FORMS: Final = MappingProxyType(
    {
        "clip_match": "CLIP_MATCH(frame, 'text')",
        "clip_prob": "CLIP_PROB(frame, 'text')",
        "image_match": "IMAGE_MATCH(frame, $image)",
        "action": "ACTION(clip [, 'label'])",
        "detect": "DETECT(frame, 'label')",
        "ai_filter": "AI_FILTER(frame, 'question' [, recall := 0.95, precision := 0.9,"
        " confidence := 0.95, max_calls := 1000])",
        "ai_classify": "AI_CLASSIFY(frame, ['a', 'b', …] [, 'question', max_calls := 1000])",
        "ai_extract": "AI_EXTRACT(frame, ['field', …] or 'JSON schema' [, max_calls := 1000])",
        "ai_join": "AI_JOIN(frame, texts.column [, 'Does this show {}?', candidates := 3,"
        " max_calls := 1000])",
        "text_match": "TEXT_MATCH(frame, 'words')",
        "video_qa": "VIDEO_QA(video_id, 'question' [, ['a', 'b', …]])",
    }
)
