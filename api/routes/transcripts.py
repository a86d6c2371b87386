"""`/transcripts`: what is said in videos."""

from dataclasses import asdict

from fastapi import APIRouter

from api.deps import CanRead, CanWrite, EngineDep, RoleDep, VideoId
from api.describe import problems
from api.errors import without_paths
from engine.ingesting.transcribe import Taken
from schemas.transcript import (
    RemovedOut,
    ScannedOut,
    SourceIn,
    SubtitlesIn,
    TakenOut,
    TranscriptOut,
    VideosIn,
)

router = APIRouter(tags=["transcripts"], dependencies=[CanRead])


@router.post("/transcripts/list", responses=problems(404))
def list_transcripts(engine: EngineDep, body: VideosIn) -> list[TranscriptOut]:
    """List the sources of lines, by video."""
    return [
        TranscriptOut(**{name: value for name, value in asdict(part).items() if name != "path"})
        for part in engine.transcripts(body.videos)
    ]


@router.post("/transcripts/scan", dependencies=[CanWrite], responses=problems(404))
def scan_transcripts(engine: EngineDep, role: RoleDep, body: VideosIn) -> list[ScannedOut]:
    """Read what is said in stored videos, in their files and beside these."""
    return [
        ScannedOut(video=name, taken=[_out(each, role) for each in taken])
        for name, taken in engine.scan_transcripts(body.videos)
    ]


@router.post("/videos/{video_id}/transcripts", dependencies=[CanWrite], responses=problems(404))
def add_transcript(
    engine: EngineDep, role: RoleDep, video_id: VideoId, body: SubtitlesIn
) -> TakenOut:
    """Read a file of subtitles as what is said in a video, in the place of one of its name."""
    taken = engine.take_subtitles(
        video_id, body.name, body.content, language=body.language, encoding=body.encoding
    )
    return _out(taken, role)


@router.post(
    "/videos/{video_id}/transcripts/remove", dependencies=[CanWrite], responses=problems(404)
)
def remove_transcript(engine: EngineDep, video_id: VideoId, body: SourceIn) -> RemovedOut:
    """Forget what is said in a video, by one source or by all; files of subtitles stay."""
    return RemovedOut(removed=engine.remove_transcript(video_id, body.source))


def _out(taken: Taken, role: str | None) -> TakenOut:
    return TakenOut(**without_paths(asdict(taken), role))
