"""`/columns`: what users say of videos."""

from fastapi import APIRouter

from api.deps import CanRead, CanWrite, EngineDep, RoleDep
from api.describe import problems
from api.routes.videos import video_out
from schemas.columns import CellsIn, Kind
from schemas.video import VideoOut

router = APIRouter(prefix="/columns", tags=["videos"], dependencies=[CanRead])


@router.get("")
def list_columns(engine: EngineDep) -> dict[str, Kind]:
    """List the columns that users have added to videos, with their kinds."""
    return engine.columns()


@router.post("", dependencies=[CanWrite], responses=problems(404))
def set_columns(engine: EngineDep, role: RoleDep, body: CellsIn) -> list[VideoOut]:
    """Give videos values in columns of your own, which are made where they are not there.

    `recorded_at` is set in the same way.
    """
    found = engine.tag(body.videos, body.values, body.kinds)
    return [video_out(video, role) for video in found]


@router.delete("/{name}", status_code=204, dependencies=[CanWrite], responses=problems(404))
def drop_column(engine: EngineDep, name: str) -> None:
    """Remove a column that users have added, with all of its values."""
    engine.drop_column(name)
