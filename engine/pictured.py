"""Moments as HTML with their pictures in it, for a notebook: bounded, and nothing is fetched."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from engine.errors import EngineError
from engine.printable import printable
from engine.results import Moment

MOST_PICTURES, MOST_PLAYERS = 12, 3
WIDTH = 240  # of a picture
_CLIP_SECONDS, _MOST_BYTES = 10.0, 2_000_000  # of one player
_CELL = "display:inline-block;width:240px;margin:4px;vertical-align:top;overflow-wrap:anywhere"


class Shows(Protocol):
    """What moments are looked at with."""

    def frame(self, video: int | str, seconds: float, *, width: int = 480) -> bytes:
        """Return the frame shown at an instant as JPEG."""

    def clip(
        self, video: int | str, start_seconds: float, stop_seconds: float, path: str | Path
    ) -> Path:
        """Cut a part of a video into an MP4."""


def pictured(moments: Sequence[Moment], shows: Shows) -> str:
    """Return the best moments with a picture each, the first of them with what plays them.

    What cannot be shown is said in its place.
    """
    cells = [
        _cell(moment, shows, plays=place < MOST_PLAYERS)
        for place, moment in enumerate(moments[:MOST_PICTURES])
    ]
    left = len(moments) - len(cells)
    more = f"<p>{left:,} more: .rows(), .arrow(), .pandas()</p>" if left else ""
    return f"<div>{''.join(cells)}{more}</div>"


def _cell(moment: Moment, shows: Shows, *, plays: bool) -> str:
    try:
        still = _address(
            "image/jpeg", shows.frame(moment.video_id, moment.peak_seconds, width=WIDTH)
        )
        clip = _clip(moment, shows) if plays else None
    except EngineError as error:
        shown = f"<p>{escape(printable(str(error)))}</p>"
    else:
        shown = f'<img width={WIDTH} alt="" src="{still}">'
        if clip is not None:
            address = _address("video/mp4", clip)
            shown = f'<video width={WIDTH} controls muted poster="{still}" src="{address}"></video>'
    span = f"{moment.start_seconds:.1f} – {moment.stop_seconds:.1f} s"
    best = f"best at {moment.peak_seconds:.1f} s, {moment.score:.3f}"
    said = f"{escape(printable(moment.name))}<br>{span}, {best}"
    return f'<div style="{_CELL}">{shown}<div>{said}</div></div>'


def _clip(moment: Moment, shows: Shows) -> bytes | None:
    """Return what plays a moment, its beginning if it is long; None where that is too large."""
    stop = min(moment.stop_seconds, moment.start_seconds + _CLIP_SECONDS)
    with TemporaryDirectory() as folder:
        path = shows.clip(moment.video_id, moment.start_seconds, stop, Path(folder) / "moment.mp4")
        data = path.read_bytes()
    return data if len(data) <= _MOST_BYTES else None


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
