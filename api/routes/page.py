"""The web page: static files, no build step."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.errors import HttpProblem

router = APIRouter(include_in_schema=False)
WEB = Path(__file__).resolve().parents[1] / "web"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


@router.get("/")
def page() -> FileResponse:
    """Return the page."""
    return FileResponse(WEB / "index.html", headers=HEADERS)


@router.get("/docs")
def docs() -> FileResponse:
    """Return the description of the API for people; nothing of it comes from elsewhere."""
    return FileResponse(WEB / "docs.html", headers=HEADERS)


@router.get("/web/{name}")
def part(name: str) -> FileResponse:
    """Return one of the page's files."""
    known = {path.name: path for path in WEB.iterdir()}
    if name not in known:
        raise HttpProblem(404, f"no file {name!r}")
    return FileResponse(known[name], headers=HEADERS)
