"""A store for agents, by the Model Context Protocol: browse, find, look, cite; read-only."""

import base64
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, ToolAnnotations
from pydantic import Field

from api.clock import clock
from api.render import plain
from engine import __version__
from engine.caller import for_one_who, sees_folders
from engine.errors import EngineError, UsageError
from engine.protocol import AnyEngine
from engine.results import Moment
from engine.storage.records import Video

P = ParamSpec("P")
T = TypeVar("T")
MOST_ROWS = 200  # of a statement that an agent reads
_MOST_VIDEOS = 100
_MOST_BYTES = 1 << 18  # of those rows
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_HOW = (
    "Ask a collection of videos. browse lists them; find gives the moments that fit a text, each"
    " with the seconds at which it shows best; look shows a frame; ask answers a question with its"
    " evidence; cite words a moment as a reference. Look at a moment before you rely on it: scores"
    " are cosines, which order moments but prove nothing."
)

Text = Annotated[str, Field(description="what a frame shows, as a caption would say it")]
Which = Annotated[int | str, Field(description="a video's id or name")]
Only = Annotated[
    list[int | str] | None, Field(description="ids, names or globs of videos; null: all")
]
Seconds = Annotated[float, Field(ge=0, description="from the video's beginning")]


def build_server(engine: AnyEngine) -> MCPServer:
    """Return a server of an engine, or of a client; it stays the caller's to close."""
    server = MCPServer("dejavu-engine", version=__version__, instructions=_HOW)
    for tool in _Tools(engine).all():
        server.add_tool(_one_line_errors(tool), annotations=_READS)
    return server


class _Tools:
    """What an agent may call; each is named and described by its function."""

    def __init__(self, engine: AnyEngine) -> None:
        self._engine = engine

    def all(self) -> list[Callable[..., Any]]:
        return [self.browse, self.find, self.look, self.ask, self.cite, self.sql]

    def browse(
        self, name: Annotated[str | None, Field(description="a name or glob; null: all")] = None
    ) -> dict[str, Any]:
        """List the videos there are, with their lengths and sizes."""
        found = self._engine.videos(name)
        return {"videos": [_told(video) for video in found[:_MOST_VIDEOS]], "of": len(found)}

    def find(
        self,
        text: Text,
        top: Annotated[int, Field(ge=1, le=50)] = 5,
        videos: Only = None,
    ) -> dict[str, Any]:
        """Find the moments that fit a text, best first."""
        found = self._engine.query(text, top, videos=videos)
        covered = found.coverage
        return {
            "moments": [_moment(moment) for moment in found.moments],
            "searched": {"videos": covered.videos, "frames": covered.frames},
            "complete": covered.complete,
            **_caution(found.caution),
        }

    def look(
        self,
        video: Which,
        seconds: Seconds,
        width: Annotated[int, Field(ge=16, le=1280)] = 640,
    ) -> ImageContent:
        """Show the frame of a video at an instant."""
        picture = self._engine.frame(video, seconds, width=width)
        data = base64.b64encode(picture).decode()
        return ImageContent(type="image", data=data, mime_type="image/jpeg")

    def ask(
        self,
        question: Annotated[str, Field(description="about what the videos show")],
        choices: Annotated[
            list[str] | None, Field(description="the possible answers, where they are known")
        ] = None,
        videos: Only = None,
    ) -> dict[str, Any]:
        """Answer a question, with the moments that support the answer."""
        said = self._engine.ask(question, choices, videos)
        return {
            "answer": said.text,
            "confidence": round(said.confidence, 4),
            "how": said.how,
            "evidence": [_moment(moment) for moment in said.evidence],
            "claims": [{"text": each.text, "verdict": each.verdict} for each in said.claims],
            **_caution(said.caution),
        }

    def cite(self, video: Which, start_seconds: Seconds, stop_seconds: Seconds) -> dict[str, Any]:
        """Word a part of a video as a reference that others can check."""
        found = self._engine.video(video)
        last = found.duration_seconds
        stop_seconds = stop_seconds if last is None else min(stop_seconds, last)
        if not start_seconds < stop_seconds or (last is not None and start_seconds >= last):
            given = f"start {start_seconds:g}, stop {stop_seconds:g}"
            raise UsageError(f"{given}; allowed: a part of the {last or 0:g} seconds of the video")
        span = f"{clock(start_seconds)}–{clock(stop_seconds)}"
        content = (found.content_hash or "")[:12]
        return {
            "citation": f"{found.name}, {span}" + (f" (sha256 {content}…)" if content else ""),
            "video_id": found.video_id,
            "content_hash": found.content_hash,
            "start_seconds": start_seconds,
            "stop_seconds": stop_seconds,
        }

    def sql(
        self, statement: Annotated[str, Field(description="one SELECT in DuckDB's dialect")]
    ) -> dict[str, Any]:
        """Run a SELECT over videos, gops, frames and moments('text'); CLIP_MATCH(frame, 'text')."""
        with for_one_who(sees_folders=sees_folders(), may_change=False):
            found = self._engine.sql(statement)
            table, caution = found.arrow(), found.caution
        shown = table.slice(0, MOST_ROWS)
        if shown.nbytes > _MOST_BYTES:
            raise UsageError(
                f"{shown.num_rows} rows have {shown.nbytes} bytes; allowed: {_MOST_BYTES}: choose"
                " fewer columns, or parts of their texts"
            )
        rows = [
            dict(zip(table.column_names, row, strict=True))
            for batch in shown.to_batches()
            for row in zip(*map(plain, batch.columns), strict=True)
        ]
        return {"rows": rows, "of": table.num_rows, **_caution(caution)}


def _one_line_errors(tool: Callable[P, T]) -> Callable[P, T]:
    """Let an agent read the engine's errors, which say what is allowed."""

    @wraps(tool)
    def call(*given: P.args, **named: P.kwargs) -> T:
        try:
            return tool(*given, **named)
        except EngineError as error:
            raise ToolError(str(error)) from error

    return call


def _caution(said: str | None) -> dict[str, str]:
    """Say what has to be known before an answer is relied on, where there is something."""
    return {"caution": said} if said else {}


def _told(video: Video) -> dict[str, Any]:
    return {
        "id": video.video_id,
        "name": video.name,
        "seconds": video.duration_seconds,
        "width": video.width,
        "height": video.height,
        "status": video.status,
        "recorded_at": video.recorded_at and f"{video.recorded_at.isoformat()}Z",
        **({"columns": video.columns} if video.columns else {}),
    }


def _moment(moment: Moment) -> dict[str, Any]:
    return {
        "video_id": moment.video_id,
        "name": moment.name,
        "start_seconds": moment.start_seconds,
        "stop_seconds": moment.stop_seconds,
        "best_at_seconds": moment.peak_seconds,
        "score": round(moment.score, 4),
        **({"said": moment.line} if moment.line is not None else {}),
    }
