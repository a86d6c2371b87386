"""What a server runs on, as it is told to those who ask."""

import importlib.metadata
import platform
from dataclasses import asdict

from api.config import ServerSettings
from api.errors import without_paths
from engine.checking.card import find_card
from engine.errors import ModelError
from engine.knowledge import BUILTIN, caution
from engine.session import Engine
from engine.vision.backbone.card import read_card
from schemas.settings import (
    CardOut,
    CheckedOut,
    IndexOut,
    IngestOut,
    ModelOut,
    NullOut,
    SettingsOut,
    StoreOut,
)

PACKAGES = ("dejavu-engine", "torch", "transformers", "av", "duckdb", "pyarrow", "faiss-cpu")
LIMITS = (
    *("sql_memory", "sql_result", "sql_seconds", "sql_rows", "sql_workers", "embed_seconds"),
    "refine_seconds",
    *("max_queries", "query_seconds", "query_wait_seconds", "max_queued_jobs", "max_body_bytes"),
    *("max_upload_bytes", "clip_seconds", "clip_cache_bytes", "max_connections"),
)


def about(engine: Engine, server: ServerSettings, role: str) -> SettingsOut:
    """Return what an engine and a server are set to and what they hold."""
    settings = engine.settings
    bound = settings.max_drift
    return SettingsOut(
        role=role,
        versions={"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        model=_model(engine, role),
        ingest=IngestOut(
            fps=settings.fps,
            strategy=settings.strategy,
            max_drift=None if bound == "none" else bound,
            decoder=settings.decoder,
            decode_gate=settings.decode_gate,
        ),
        store=_store(engine),
        limits={n: getattr(server if hasattr(server, n) else settings, n) for n in LIMITS},
    )


def _model(engine: Engine, role: str) -> ModelOut:
    model, settings = engine.model, engine.settings
    card = CardOut.model_validate(asdict(read_card())) if settings.model == BUILTIN else None
    return ModelOut(
        name=without_paths(settings.model, role),
        space=model.space.key,
        dimensions=model.space.dimension,
        revision=model.space.revision,
        weights=model.space.weight_hash,
        precision=model.space.precision,
        computed=str(model.tower.dtype).removeprefix("torch."),
        device=str(model.device),
        caution=caution(settings.model),
        card=card,
        checked=_checked(engine, role),
        null=_null(engine),
        actions=without_paths(settings.action_model, role),
        detector=without_paths(settings.detector_model, role),
    )


def _checked(engine: Engine, role: str) -> CheckedOut | None:
    """Return what a check of the model found, where one was made for this data folder."""
    try:
        card = find_card(engine.layout.root, engine.space)
    except ModelError as error:
        said = without_paths(str(error), role) or ""
        return CheckedOut(checked_at="", good_for="", lines=[said])
    if card is None:
        return None
    lines = [without_paths(line, role) or "" for line in card.lines() if line.startswith("- ")]
    told = [line.removeprefix("- ") for line in lines]
    return CheckedOut(checked_at=card.checked_at, good_for=card.good_for, lines=told)


def _null(engine: Engine) -> NullOut | None:
    """Return the null that was measured of the model's space, where one was."""
    null, chance = engine.null(), engine.settings.false_match_rate
    if null is None:
        return None
    return NullOut(
        middle=null.middle,
        width=null.width,
        clear=null.quantile(1 - chance),
        chance=chance,
        rows=null.num_rows,
    )


def _store(engine: Engine) -> StoreOut:
    lasting = engine.sql("SELECT coalesce(sum(duration_seconds), 0.0) AS seconds FROM videos")
    return StoreOut(
        videos={str(name): count for name, count in engine.count_by_status().items()},
        embedded={str(state): count for state, count in engine.count_by_state().items()},
        seconds=lasting.rows()[0]["seconds"],
        indexes=[
            IndexOut(
                space=each.space_key,
                kind=each.kind,
                rows=each.num_rows,
                waiting=each.num_delta,
                state=each.state,
            )
            for each in engine.indexes()
        ],
    )
