"""dejavu-engine: a video-language query engine that reuses what it has already computed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.session import Engine as Engine

__all__ = ["Engine"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # lazy, so that engine.vision imports on machines that have torch and little else
    if name == "Engine":
        from engine.session import Engine

        return Engine
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
