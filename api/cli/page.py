"""A query's result as one self-contained HTML file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from api.cli import show
from engine.errors import EngineError
from engine.protocol import AnyEngine
from engine.results import Moment

_STYLE = (
    "body{font:15px/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}"
    "figure{margin:0;border:1px solid #ddd;border-radius:.8rem;overflow:hidden}"
    "img{width:100%;display:block;background:#000}p{margin:0}"
    "figcaption,p{padding:.6rem .8rem}"
    "small{color:#667;display:flex;justify-content:space-between}"
)


def write_page(path: Path, text: str, moments: Sequence[Moment], engine: AnyEngine) -> None:
    """Write the moments with a picture of each one's peak; where its file is gone, with why."""
    figures = "".join(_figure(moment, _picture(moment, engine)) for moment in moments)
    title = html.escape(text)
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><main>{figures}</main>\n"
    )


def _figure(moment: Moment, picture: str) -> str:
    span = f"{show.clock(moment.start_seconds)} – {show.clock(moment.stop_seconds)}"
    return (
        f"<figure>{picture}<figcaption>"
        f"{html.escape(moment.name)}<small><span>{span}</span><span>{moment.score:.3f}</span>"
        "</small></figcaption></figure>"
    )


def _picture(moment: Moment, engine: AnyEngine) -> str:
    try:
        source = base64.b64encode(engine.frame(moment.video_id, moment.peak_seconds)).decode()
    except EngineError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return f'<img alt="" src="data:image/jpeg;base64,{source}">'
