"""Which models a request may name: none that reach what the server's owner did not open."""

from pathlib import Path

from api.config import ServerSettings
from api.deps import inside_roots
from api.errors import HttpProblem
from engine.errors import NotFoundError, unknown
from engine.session import Engine
from engine.vision.backbone.locate import HUB, OPEN_CLIP, TIMM
from engine.vision.backbone.named import parse_name


def check_named(engine: Engine, settings: ServerSettings, name: str) -> None:
    """Refuse the URL of a server, to which frames would be sent, and folders outside the roots.

    What the data folder has a space of was chosen by its owner.
    """
    if name == engine.settings.model or name in {space.model for space in engine.spaces()}:
        return
    named = parse_name(name)
    if named.is_url:
        allowed = "those that the data folder has a space of, or an id of the hub"
        raise HttpProblem(403, f"a request may not name the URL of a model; allowed: {allowed}")
    bare = named.base.removeprefix(HUB).removeprefix(OPEN_CLIP).removeprefix(TIMM)
    if bare.startswith((".", "/", "~")) or Path(bare).exists():
        inside_roots(settings, bare)


def check_source(engine: Engine, source: str | None) -> None:
    """Refuse a model or space that nothing is embedded by."""
    known = [name for space in engine.spaces() for name in (space.key, space.model)]
    if source is not None and source not in known:
        raise NotFoundError(unknown("space or model that something is embedded by", source, known))
