"""A query's result as one HTML file: it needs no other file to be read, and links to play."""

import base64
import html
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import engine as package
from api.cli import show
from engine.checking.card import find_card
from engine.client import Client
from engine.errors import EngineError, UsageError, unknown
from engine.objects.address import place_of
from engine.printable import printable
from engine.protocol import AnyEngine
from engine.results import Coverage, Moment, QueryResult
from engine.storage.records import Video

LINKS = ("relative", "absolute", "none")
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}"
    "figure{margin:0;border:1px solid #8886;border-radius:.8rem;overflow:hidden}"
    "img,video{width:100%;display:block;background:#000}p{margin:0}"
    "figcaption,figure p{padding:.6rem .8rem;overflow-wrap:anywhere}"
    "small{display:flex;justify-content:space-between;gap:1rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dd{margin:0}"
)
# nothing but what stands in the file, and the videos that it links to
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src *"


def write_page(
    path: Path, title: str, found: QueryResult, engine: AnyEngine, links: str = "relative"
) -> None:
    """Write the moments with a picture of each one's peak; where its file is gone, with why.

    `links` says where videos are played from: paths as seen from the page or from the root, the
    address of a server, or none.
    """
    check_links(links)
    videos = {each: engine.video(each) for each in {m.video_id for m in found.moments}}
    where = engine.url if isinstance(engine, Client) and links in LINKS[:2] else links
    figures = list[str]()
    for moment in found.moments:
        link = _link(moment, videos[moment.video_id], where, path)
        figures.append(_figure(moment, _picture(moment, engine), link))
    shown = html.escape(printable(title))
    facts = [
        f"<dt>{name}</dt><dd>{html.escape(printable(text))}</dd>"
        for name, text in _facts(found, videos, engine)
    ]
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<meta name=viewport content='width=device-width'><title>{shown}</title>"
        f"<style>{_STYLE}</style><h1>{shown}</h1><main>{''.join(figures)}</main>"
        f"<h2>What this rests on</h2><dl>{''.join(facts)}</dl></html>\n"
    )


def check_links(links: str) -> None:
    """Refuse what is neither a way to link nor a server's address."""
    if links not in LINKS and not links.startswith(("http://", "https://")):
        raise UsageError(f"{unknown('links', links, LINKS)}, or http(s)://HOST of a server")


def _figure(moment: Moment, picture: str, link: str | None) -> str:
    span = f"{show.clock(moment.start_seconds)} – {show.clock(moment.stop_seconds)}"
    name, shown = html.escape(printable(moment.name)), picture
    if not picture.startswith("data:"):
        shown = f"<p>{html.escape(printable(picture))}</p>"
    elif link is not None:
        source = html.escape(link)
        shown = f'<video controls preload=none poster="{picture}" src="{source}"></video>'
        name = f'<a href="{source}">{name}</a>'
    else:
        shown = f'<img alt="" src="{picture}">'
    clear = {True: "clear", False: "not clear", None: ""}[moment.clear]
    return (
        f"<figure>{shown}<figcaption>{name}<small><span>{span}, best at"
        f" {show.clock(moment.peak_seconds)}</span><span>{moment.score:.3f} {clear}</span>"
        "</small></figcaption></figure>"
    )


def _picture(moment: Moment, engine: AnyEngine) -> str:
    """Return a picture as an address, or why there is none."""
    try:
        source = base64.b64encode(engine.frame(moment.video_id, moment.peak_seconds)).decode()
    except EngineError as error:
        return str(error)
    return f"data:image/jpeg;base64,{source}"


def _link(moment: Moment, video: Video, links: str, page: Path) -> str | None:
    """Return where a moment is played from; a fragment says which part of the file it is."""
    span = moment.start_seconds, moment.stop_seconds
    if links == "none":
        return None
    if links not in LINKS:
        told = urlencode(dict(zip(("start", "stop"), span, strict=True)))
        return f"{links.rstrip('/')}/videos/{moment.video_id}/clip.mp4?{told}"
    path = place_of(video.path)
    if not isinstance(path, Path):
        return None  # a browser has no key for it; `--links URL` plays it by a server
    path = path.absolute()
    address = quote(os.path.relpath(path, page.absolute().parent))
    return f"{path.as_uri() if links == 'absolute' else address}#t={span[0]:.3f},{span[1]:.3f}"


def _facts(
    found: QueryResult, videos: dict[int, Video], engine: AnyEngine
) -> Iterator[tuple[str, str]]:
    """Tell what the answer rests on."""
    covered = found.coverage
    yield "looked at", f"{covered.frames:,} frames of {covered.videos:,} videos: {found.plan}"
    yield "exactness", "; ".join(_exactness(covered))
    if isinstance(engine, package.Engine):
        settings = engine.settings
        yield "model", f"{settings.model} ({engine.space}), {settings.precision}"
        if (card := find_card(engine.layout.root, engine.space)) is not None:
            yield "checked", f"{card.checked_at}: {card.good_for}"
            yield from (("", line.removeprefix("- ")) for line in card.lines() if line[:2] == "- ")
        else:
            yield "checked", "not on this data folder: dejavu-engine models check"
        yield "settings", f"{settings.fps:g} frames a second, strategy {settings.strategy}"
        bound = settings.max_drift
        yield "bound", "none" if bound == "none" else f"a mean drift of {bound:g} a video"
    elif isinstance(engine, Client):
        yield "model", f"{engine.call('GET', '/readyz')['model']}, of {engine.url}"
    for line in sorted(_rows(list(videos.values()))):
        yield "rows", line
    if found.caution:
        yield "caution", found.caution
    yield "made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by dejavu-engine {package.__version__}"


def _exactness(covered: Coverage) -> Iterator[str]:
    why = covered.lacks or "time ran out, or a file cannot be read"
    yield "complete" if covered.complete else f"not complete: {why}"
    if covered.coarse_seconds:
        yield f"{covered.coarse_seconds:,.0f} s looked at by first frames alone"
    if covered.edges_may_move:
        yield "where moments begin and end rests on approximate rows"
    if covered.approximate:
        yield "rows chosen by an index, which may miss some"
    if covered.refined:
        yield f"{covered.refined:,} rows made exact"


def _rows(videos: Sequence[Video]) -> set[str]:
    """Tell how rows were made, once for all videos of which the same is to be said."""
    told = set[str]()
    for video in videos:
        report = video.report or {}
        drift = report.get("drift")
        said = f"{report.get('strategy') or 'not told'} at {report.get('fps') or 0:g} frames/s"
        told.add(said if drift is None else f"{said}, mean drift {drift:.4f}")
    return told
