"""`GET /settings`: what the server runs on; `GET /examples`: what can be tried on its store."""

from fastapi import APIRouter, Request

from api.about import about
from api.deps import CanRead, EngineDep, HeavyDep, RoleDep, SettingsDep
from schemas.examples import ExampleOut
from schemas.settings import SettingsOut

router = APIRouter(tags=["health"], dependencies=[CanRead])


@router.get("/settings")
async def get_settings(
    request: Request, engine: EngineDep, heavy: HeavyDep, settings: SettingsDep, role: RoleDep
) -> SettingsOut:
    """Return the model with its card, how videos are embedded, what is stored, and all limits."""
    return await heavy.queries.take(lambda: about(engine, settings, str(role)), request)


@router.get("/examples")
async def get_examples(request: Request, heavy: HeavyDep) -> list[ExampleOut]:
    """List what can be tried on this store; worked out once, until the store changes."""
    found: list[ExampleOut] = await heavy.queries.take(request.app.state.examples.read, request)
    return found
