"""What a statement may read: relations with their columns, functions with their forms."""

from types import MappingProxyType
from typing import Final

import pyarrow as pa

from schemas.tables import FRAMES, GOPS, MOMENTS, VIDEOS

_VIDEOS = (
    "video_id name path duration_seconds fps width height codec num_frames ingested_at status error"
)
_GOPS = "video_id gop start_seconds stop_seconds num_frames"


def _pick(schema: pa.Schema, names: str) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names.split()])


RELATIONS: Final = MappingProxyType(
    {
        "videos": _pick(VIDEOS, _VIDEOS),
        "gops": _pick(GOPS, _GOPS),
        "frames": FRAMES,
        "moments": MOMENTS,
    }
)

FORMS: Final = MappingProxyType(
    {
        "clip_match": "CLIP_MATCH(frame, 'text')",
        "clip_prob": "CLIP_PROB(frame, 'text')",
        "image_match": "IMAGE_MATCH(frame, $image)",
        "video_qa": "VIDEO_QA(video_id, 'question' [, ['a', 'b', …]])",
    }
)
