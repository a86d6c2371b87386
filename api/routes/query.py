"""`POST /query` and `POST /sql`."""

import csv
import io
import json
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any
from urllib.parse import urlencode

import pyarrow as pa
from fastapi import APIRouter, Header, Request, Response

from api.deps import CanRead, EngineDep, SettingsDep, take_turn
from engine.ask import Answer
from engine.errors import UsageError
from engine.query import Moment
from schemas.query import AnswerOut, MomentOut, QueryRequest, QueryResponse, SqlRequest

router = APIRouter(tags=["query"], dependencies=[CanRead])
ARROW = "application/vnd.apache.arrow.stream"
_SHOWN_SECONDS = 1.0  # added on each side of a clip, so that a short moment can be seen


@router.post("/query")
async def post_query(
    request: Request, body: QueryRequest, engine: EngineDep, settings: SettingsDep
) -> QueryResponse:
    """Find moments for a text, or answer a question with its evidence."""
    options = body.options.model_dump(exclude={"explain"}, exclude_none=True)

    def find() -> QueryResponse:
        found = engine.query(
            body.text,
            top_k=body.top_k,
            videos=body.videos,
            group_by=body.group_by,
            min_score=body.min_score,
            **options,
        )
        answered = None
        if body.mode != "retrieval":
            answered = engine.ask(body.text, body.choices, videos=body.videos)
        return QueryResponse(
            moments=[_moment(moment) for moment in found.moments],
            answer=answered and _answer(answered, grounded=body.mode == "grounded_qa"),
            coverage={
                name: getattr(found.coverage, name) for name in found.coverage.__dataclass_fields__
            },
            plan=found.plan if body.options.explain else None,
            timing=found.timing,
        )

    return await take_turn(request, settings, find)


@router.post("/sql", response_model=None)
async def post_sql(
    request: Request,
    body: SqlRequest,
    engine: EngineDep,
    settings: SettingsDep,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """Run a SELECT; rows come as JSON, CSV or an Arrow stream, as Accept asks."""
    sql = body.sql
    if body.options:
        listed = ", ".join(_option(name, value) for name, value in body.options.items())
        sql = f"{sql.rstrip().rstrip(';')}\nOPTIONS ({listed})"
    positional = body.params if isinstance(body.params, list) else []
    named = body.params if isinstance(body.params, dict) else {}
    result = await take_turn(request, settings, lambda: engine.sql(sql, *positional, **named))
    return render_table(result.arrow(), accept, result.seconds)


def render_table(table: pa.Table, accept: str, seconds: float) -> Response:
    """Write rows in the first form that a caller accepts."""
    if ARROW in accept:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Response(sink.getvalue().to_pybytes(), media_type=ARROW)
    if "text/csv" in accept:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return Response(text.getvalue(), media_type="text/csv")
    body = {
        "columns": [{"name": field.name, "type": str(field.type)} for field in table.schema],
        "rows": plain(table.to_pylist()),
        "timing": {"seconds": seconds},
    }
    return Response(json.dumps(body, default=str), media_type="application/json")


def plain(value: Any) -> Any:
    """Replace what JSON has no word for: not-a-number and infinities become null."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _option(name: str, value: Any) -> str:
    """Write an option as the statement's own OPTIONS clause has it."""
    if not name.isidentifier() or not isinstance(value, str | int | float):
        raise UsageError(f"options: {name!r} = {value!r}; expected a name with a text or a number")
    escaped = value.replace("'", "''") if isinstance(value, str) else ""
    return f"{name} = '{escaped}'" if isinstance(value, str) else f"{name} = {json.dumps(value)}"


def _moment(moment: Moment) -> MomentOut:
    base = f"/videos/{moment.video_id}"
    shown = {
        "start": f"{max(moment.start_seconds - _SHOWN_SECONDS, 0):.3f}",
        "stop": f"{moment.stop_seconds + _SHOWN_SECONDS:.3f}",
    }
    return MomentOut(
        video_id=moment.video_id,
        name=moment.name,
        start_seconds=moment.start_seconds,
        stop_seconds=moment.stop_seconds,
        peak_seconds=moment.peak_seconds,
        score=moment.score,
        thumbnail_url=f"{base}/frames/{moment.peak_seconds:.3f}.jpg",
        clip_url=f"{base}/clip.mp4?{urlencode(shown)}",
    )


def _answer(answered: Answer, *, grounded: bool) -> AnswerOut:
    return AnswerOut(
        text=answered.text,
        confidence=answered.confidence,
        choice=answered.choice,
        scores=answered.scores,
        how=answered.how,
        evidence=[_moment(moment) for moment in answered.evidence] if grounded else [],
    )
