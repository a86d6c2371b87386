"""`ingest --watch`: stay, and ingest what appears or changes in folders."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from api.cli import show
from api.cli.foresee import Chooser
from engine.errors import NotFoundError
from engine.objects.address import Place, lies_in, place_of
from engine.printable import printable

if TYPE_CHECKING:
    from engine.ingesting.discover import Found
    from engine.ingesting.report import IngestReport
    from engine.library import Library

_STEP = 0.2  # seconds, after which a Ctrl-C is heard
_POLL = 2.0  # the most seconds between two looks


def watch(
    opened: "Library",
    chooser: Chooser,
    rest_seconds: float,
    ingest: "Callable[[Found], IngestReport]",
    *,
    as_json: bool,
) -> int:
    """Ingest each file that comes to rest, until Ctrl-C; return the exit code."""
    from engine.ingesting.discover import discover
    from engine.ingesting.interrupt import interruptible
    from engine.ingesting.watch import FolderWatch

    discover(chooser.paths)  # what is misspelt is refused now

    def look() -> "list[Found]":
        found = []
        for path in chooser.paths:
            try:
                found += replace(chooser, paths=[path]).files(opened)
            except NotFoundError:  # nothing is there for now
                continue
        return found

    folders = [_whole(path) for path in chooser.paths]
    stored = {
        place: video.name
        for video in opened.videos()
        if any(lies_in(place := place_of(video.path), folder) for folder in folders)
    }
    watched = FolderWatch(look, rest_seconds, stored)
    show.err.print(f"[dim]watching {escape(', '.join(chooser.paths))}; Ctrl-C ends it[/]")
    with interruptible(lambda: False) as stopped:
        while not stopped():
            for change in watched.changes(monotonic()):
                told: dict[str, Any] = {"event": change.kind, "name": change.found.name}
                if change.before is not None:
                    told["before"] = change.before
                if change.kind == "settled":
                    report = ingest(change.found)
                    told |= _became(report)
                    if report.interrupted:
                        _print(told, as_json=as_json)
                        return 130
                _print(told, as_json=as_json)
                if stopped():
                    return 0
            until = monotonic() + min(rest_seconds / 2, _POLL)
            while not stopped() and (left := until - monotonic()) > 0:
                sleep(min(_STEP, left))
    return 0


def _whole(given: str) -> Place:
    """Return a path from the root on, an address as it is."""
    place = place_of(given)
    return place.expanduser().absolute() if isinstance(place, Path) else place


def _became(report: "IngestReport") -> dict[str, Any]:
    """Say what an ingest of one file did."""
    video = report.videos[0]
    return {"event": video.outcome, "name": video.name, "rows": video.rows, "reason": video.reason}


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        return
    line = f"{told['event']:>11}  {printable(told['name'])}"
    line += f", before {printable(told['before'])}" if "before" in told else ""
    line += f", {told['rows']:,} rows" if told.get("rows") else ""
    line += f": {printable(told['reason'])}" if told.get("reason") else ""
    show.out.print(escape(line), soft_wrap=True)
