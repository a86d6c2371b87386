"""`/videos/{id}/curve` and `…/activity`: what a video's frames say over its time."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.deps import CanRead, EngineDep, HeavyDep, VideoId
from api.describe import problems
from schemas.curve import ActivityOut, CurveOut

router = APIRouter(prefix="/videos", tags=["videos"], dependencies=[CanRead])
_CURVE = """
SELECT arg_max(seconds, score) AS at, max(score) AS best
FROM (SELECT seconds, CLIP_MATCH(frame, $text) AS score FROM frames WHERE video_id = $video) AS f
WHERE score IS NOT NULL
GROUP BY floor(seconds / $step)
ORDER BY at
"""


@router.get("/{video_id}/curve", responses=problems(404))
async def get_curve(
    request: Request,
    engine: EngineDep,
    heavy: HeavyDep,
    video_id: VideoId,
    text: Annotated[str, Query(min_length=1, max_length=2000, description="to look for")],
    points: Annotated[int, Query(ge=2, le=2000, description="at most so many")] = 240,
) -> CurveOut:
    """Return the scores of a video over its time, of each stretch its best frame's."""

    def measure() -> CurveOut:
        video = engine.video(video_id)
        length = video.duration_seconds or 0.0
        step = max(length / points, 1e-3)
        found = engine.sql(_CURVE, text=text, video=video_id, step=step).arrow().to_pydict()
        return CurveOut(
            video_id=video_id,
            duration_seconds=video.duration_seconds,
            seconds=found["at"][:points],
            scores=found["best"][:points],
        )

    return await heavy.queries.take(measure, request)


@router.get("/{video_id}/activity", responses=problems(404))
async def get_activity(
    request: Request,
    engine: EngineDep,
    heavy: HeavyDep,
    video_id: VideoId,
    points: Annotated[int, Query(ge=2, le=2000, description="at most so many")] = 240,
) -> ActivityOut:
    """Return how much a video changes over its time, by the frames that are embedded of it."""

    def measure() -> ActivityOut:
        found = engine.activity(video_id, points=points)
        return ActivityOut(video_id=video_id, **asdict(found))

    return await heavy.queries.take(measure, request)
