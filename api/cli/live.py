"""`live`: a stream in, segment by segment, until Ctrl-C."""

import json
import sys
from bisect import insort
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from api.cli import flags, show
from api.cli.connect import connect
from engine.client import Client
from engine.errors import EngineError, NotFoundError
from engine.printable import printable

if TYPE_CHECKING:
    from engine.ingesting.live import Keep, LiveRecorder, LiveSegment
    from engine.protocol import AnyEngine

_STEP = 0.5  # seconds, after which a Ctrl-C is heard
_LOOK = 0.1  # seconds, after which it is seen that a segment is in
_AHEAD = 2  # segments: one is taken in, and the next waits for it


def live(
    url: Annotated[
        str,
        typer.Argument(
            help="rtsp://…, http(s)://… (also HLS), tcp://…, srt://…, v4l2:///dev/video0"
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the camera: files and their column `camera`.")],
    folder: Annotated[
        Path | None, typer.Option(help="For the segments; without it DATA/live/NAME.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="About so long is a segment: it ends at a key picture.")
    ] = 10.0,
    keep_hours: Annotated[
        float | None, typer.Option(help="Older segments go, with their rows.", min=0.001)
    ] = None,
    keep_gb: Annotated[
        float | None, typer.Option(help="Beyond so many gigabytes the oldest go.", min=0.001)
    ] = None,
    silence: Annotated[
        float, typer.Option(help="Seconds without a byte after which it is connected again.")
    ] = 10.0,
    _for: Annotated[
        float | None, typer.Option("--for", help="End after so many seconds.", min=0)
    ] = None,
    fps: flags.Fps = 2.0,
    strategy: flags.StrategyName = "auto",
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Ingest a live stream as it comes: each segment is a video, with when it was recorded.

    A connection that is lost is made again. Ctrl-C ends it; what was begun is kept.
    """
    from engine.ingesting.interrupt import interruptible
    from engine.ingesting.live import Keep, LiveBounds, LiveRecorder, shown_url

    keep = Keep(keep_hours, None if keep_gb is None else int(keep_gb * 1e9))
    bounds = LiveBounds(segment_seconds=seconds, silence_seconds=silence)
    place = (folder or data / "live" / name).absolute()
    recorder = LiveRecorder(url, place, name, bounds)
    with connect(data, model, device, create=True) as engine:
        show.err.print(f"[dim]{escape(shown_url(url))} as {escape(name)}; Ctrl-C ends it[/]")
        until = None if _for is None else monotonic() + _for
        intake = _Intake(engine, recorder, keep, {"fps": fps, "strategy": strategy}, as_json)
        with interruptible(lambda: False) as stopped:
            with recorder:
                while not stopped() and (until is None or monotonic() < until):
                    intake.step(_STEP)
            while intake.step(0.0):  # what was begun, and what waited
                continue
    if recorder.lost or recorder.dropped:
        show.err.print(
            f"[dim]connected again {recorder.lost} times, {recorder.dropped} segments dropped[/]"
        )


class _Intake:
    """Takes segments into the store, and old ones out of it; the next one waits where it is."""

    def __init__(
        self,
        engine: "AnyEngine",
        recorder: "LiveRecorder",
        keep: "Keep",
        options: dict[str, Any],
        as_json: bool,
    ) -> None:
        self._engine, self._recorder, self._keep = engine, recorder, keep
        self._options, self._as_json = options, as_json
        self._camera = recorder.name
        self._fault: str | None = None
        self._pool = ThreadPoolExecutor(_AHEAD)
        self._begun = deque["tuple[LiveSegment, Future[None]]"]()
        known = engine.videos(f"{self._camera}-*.mkv")
        self._left = deque(recorder.left({video.name for video in known}))
        self._kept = sorted(
            (video.recorded_at or video.ingested_at, video.name, video.size_bytes or 0)
            for video in known
            if video.columns.get("camera") == self._camera
        )

    def step(self, seconds: float) -> bool:
        """Begin with the next segment, if one comes in time, and tell of those that are in.

        Return whether there is, or may be, more to do.
        """
        segment, room = None, len(self._begun) < _AHEAD
        if room and self._left:
            segment = self._recorder.take(0) or self._left.popleft()
        elif room:
            segment = self._recorder.take(min(seconds, _LOOK) if self._begun else seconds)
        if self._recorder.fault != self._fault:
            self._fault = self._recorder.fault
            self._tell({"event": "connected" if self._fault is None else "lost"}, self._fault)
        if segment is not None:
            self._begun.append((segment, self._pool.submit(self._ingest, segment)))
        elif self._begun and not (room and seconds):
            wait([self._begun[0][1]], _STEP)
        while self._begun and self._begun[0][1].done():
            self._end(*self._begun.popleft())
        return segment is not None or bool(self._begun)

    def _end(self, segment: "LiveSegment", done: "Future[None]") -> None:
        told: dict[str, Any] = {"event": "ingested", "name": segment.path.name}
        try:
            done.result()
        except EngineError as error:
            told["event"] = "failed"
            self._tell(told, str(error))
            return
        late = (_now() - segment.recorded_at).total_seconds()
        told |= {"seconds": round(segment.seconds, 3), "delay": round(late - segment.seconds, 3)}
        self._tell(told, None)
        self._forget(segment)

    def _ingest(self, segment: "LiveSegment") -> None:
        said = {"camera": self._camera, "recorded_at": segment.recorded_at.isoformat()}
        if isinstance(self._engine, Client):
            job = self._engine.ingest(segment.path, columns=said, **self._options)
            if job.status != "ready":
                raise EngineError(job.error or f"the job is {job.status}")
        else:
            report = self._engine.ingest(segment.path, columns=said, **self._options)  # type: ignore[attr-defined]
            if report.quarantined:
                raise EngineError(str(report.quarantined[0].reason))

    def _forget(self, segment: "LiveSegment") -> None:
        """Remove what is not to be kept, now that there is one more, rows and files."""
        if self._keep.hours is None and self._keep.bytes is None:
            return
        size = segment.path.stat().st_size
        insort(self._kept, (segment.recorded_at, segment.path.name, size))
        going = self._keep.beyond([(at, size) for at, _, size in self._kept], _now())
        for _, name, _ in self._kept[:going]:
            with suppress(NotFoundError):  # somebody was faster
                self._engine.remove(name)
                self._tell({"event": "removed", "name": name}, None)
            (self._recorder.folder / Path(name).name).unlink(missing_ok=True)
        del self._kept[:going]

    def _tell(self, told: dict[str, Any], reason: str | None) -> None:
        if self._as_json:
            sys.stdout.write(json.dumps({**told, "reason": reason}) + "\n")
            sys.stdout.flush()
            return
        line = f"{told['event']:>11}  {printable(told.get('name', self._camera))}"
        if "seconds" in told:
            line += f", {told['seconds']:.1f} s, {told['delay']:.1f} s after its end"
        line += f": {printable(reason)}" if reason else ""
        show.out.print(escape(line), soft_wrap=True)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
