"""`POST /query` and `POST /sql`."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from api.deps import CanRead, EngineDep, HeavyDep, RoleDep
from api.describe import problems
from api.render import MEDIA, form_of, rendered
from api.shown import answer_out, moment_out
from engine.caller import for_one_who
from engine.errors import UsageError
from engine.rows import SqlResult
from schemas.explain import ExplainOut
from schemas.query import (
    ExplainRequest,
    QueryRequest,
    QueryResponse,
    RowsOut,
    SqlRequest,
)

router = APIRouter(tags=["query"], dependencies=[CanRead])
_TEXT = {"schema": {"type": "string"}}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_ROWS = {
    MEDIA["json"]: {"schema": RowsOut.model_json_schema()},
    MEDIA["lines"]: _TEXT,
    "text/csv": {**_TEXT, "example": '"video_id","seconds"\n1,13\n'},
    MEDIA["arrow"]: _BYTES,
    MEDIA["parquet"]: _BYTES,
}


@router.post("/query", responses=problems(404))
async def post_query(
    request: Request, body: QueryRequest, engine: EngineDep, heavy: HeavyDep, role: RoleDep
) -> QueryResponse:
    """Find moments for a text or a picture, or answer a question with its evidence."""
    options = body.options.model_dump(exclude={"explain"}, exclude_none=True)

    def find() -> QueryResponse:
        with for_one_who(sees_folders=role == "write", may_change=False):
            return answer()

    def answer() -> QueryResponse:
        found = engine.query(
            body.subject,
            top_k=body.top_k,
            videos=body.videos,
            group_by=body.group_by,
            min_score=body.min_score,
            mix=body.mix,
            where=body.where,
            signals=body.signals,
            spaces=body.spaces,
            **options,
        )
        answered = None
        if body.mode != "retrieval" and body.text is not None:
            answered = engine.ask(body.text, body.choices, videos=body.videos, where=body.where)
        return QueryResponse(
            moments=[moment_out(moment) for moment in found.moments],
            answer=answered and answer_out(answered, grounded=body.mode == "grounded_qa"),
            coverage={
                name: getattr(found.coverage, name) for name in found.coverage.__dataclass_fields__
            },
            plan=found.plan if body.options.explain else None,
            timing=found.timing,
            caution=found.caution,
        )

    return await heavy.queries.take(find, request)


@router.post(
    "/sql",
    response_class=StreamingResponse,
    responses={200: {"description": "Rows", "content": _ROWS}, **problems(404)},
)
async def post_sql(
    request: Request,
    body: SqlRequest,
    engine: EngineDep,
    heavy: HeavyDep,
    role: RoleDep,
    accept: Annotated[str, Header()] = "application/json",
) -> StreamingResponse:
    """Run a SELECT; rows come as JSON, lines of JSON, CSV, Parquet or Arrow, as Accept asks."""
    positional = body.params if isinstance(body.params, list) else []
    named = body.params if isinstance(body.params, dict) else {}
    if "options" in named:
        raise UsageError("a parameter cannot be called options; allowed: any other name")

    def select() -> SqlResult:
        may_change = role == "write" and not body.read_only
        with for_one_who(sees_folders=role == "write", may_change=may_change):
            return engine.sql(body.sql, *positional, options=body.options, **named)

    result = await heavy.queries.take(select, request)
    table, form = result.arrow(), form_of(accept)
    return StreamingResponse(rendered(table, form, result.seconds), media_type=MEDIA[form])


@router.post("/explain", responses=problems(404))
async def post_explain(
    request: Request, body: ExplainRequest, engine: EngineDep, heavy: HeavyDep, role: RoleDep
) -> ExplainOut:
    """Return the plan of a SELECT: operators, estimates, rules, and what was not done and why."""
    positional = body.params if isinstance(body.params, list) else []
    named = body.params if isinstance(body.params, dict) else {}
    reserved = {"options", "analyze", "form"} & set(named)
    if reserved:
        said = f"a parameter cannot be called {min(reserved)}; allowed: any other name"
        raise UsageError(said)

    def plan() -> str:
        with for_one_who(sees_folders=role == "write", may_change=False):
            return engine.explain(
                body.sql,
                *positional,
                analyze=body.analyze,
                form="json",
                options=body.options,
                **named,
            )

    return ExplainOut.model_validate_json(await heavy.queries.take(plan, request))
