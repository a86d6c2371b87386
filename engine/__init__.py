"""dejavu-engine: a video-language query engine that reuses what it has already computed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.client import Client as Client
    from engine.config import Settings as Settings
    from engine.errors import BindError as BindError
    from engine.errors import CorruptVideoError as CorruptVideoError
    from engine.errors import DataError as DataError
    from engine.errors import EngineError as EngineError
    from engine.errors import ExecutionError as ExecutionError
    from engine.errors import LimitError as LimitError
    from engine.errors import LookerError as LookerError
    from engine.errors import ModelError as ModelError
    from engine.errors import NotFoundError as NotFoundError
    from engine.errors import ObjectError as ObjectError
    from engine.errors import ParseError as ParseError
    from engine.errors import QueryError as QueryError
    from engine.errors import SourceChangedError as SourceChangedError
    from engine.errors import StoreError as StoreError
    from engine.errors import UnreachedError as UnreachedError
    from engine.errors import UnreachedModelError as UnreachedModelError
    from engine.errors import UnsupportedCodecError as UnsupportedCodecError
    from engine.errors import UsageError as UsageError
    from engine.errors import VideoError as VideoError
    from engine.ingesting.report import IngestOptions as IngestOptions
    from engine.ingesting.report import IngestReport as IngestReport
    from engine.ingesting.report import VideoReport as VideoReport
    from engine.library import Library as Library
    from engine.protocol import AnyEngine as AnyEngine
    from engine.results import Answer as Answer
    from engine.results import Coverage as Coverage
    from engine.results import Moment as Moment
    from engine.results import QueryResult as QueryResult
    from engine.rows import Completeness as Completeness
    from engine.rows import SqlResult as SqlResult
    from engine.session import Engine as Engine
    from engine.storage.records import Job as Job
    from engine.storage.records import Video as Video

_HOMES = {  # name → module: what is heavy is imported by who asks for it
    "Answer": "engine.results",
    "AnyEngine": "engine.protocol",
    "BindError": "engine.errors",
    "Client": "engine.client",
    "Completeness": "engine.rows",
    "CorruptVideoError": "engine.errors",
    "Coverage": "engine.results",
    "DataError": "engine.errors",
    "Engine": "engine.session",
    "EngineError": "engine.errors",
    "ExecutionError": "engine.errors",
    "IngestOptions": "engine.ingesting.report",
    "IngestReport": "engine.ingesting.report",
    "Job": "engine.storage.records",
    "Library": "engine.library",
    "LimitError": "engine.errors",
    "LookerError": "engine.errors",
    "ModelError": "engine.errors",
    "Moment": "engine.results",
    "NotFoundError": "engine.errors",
    "ObjectError": "engine.errors",
    "ParseError": "engine.errors",
    "QueryError": "engine.errors",
    "QueryResult": "engine.results",
    "Settings": "engine.config",
    "SqlResult": "engine.rows",
    "StoreError": "engine.errors",
    "SourceChangedError": "engine.errors",
    "UnreachedError": "engine.errors",
    "UnreachedModelError": "engine.errors",
    "UnsupportedCodecError": "engine.errors",
    "UsageError": "engine.errors",
    "Video": "engine.storage.records",
    "VideoError": "engine.errors",
    "VideoReport": "engine.ingesting.report",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
