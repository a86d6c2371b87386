"""`POST /query` and `POST /sql` over all shards, and `GET /shards`: what each is and holds."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from api.deps import CanRead
from api.describe import problems
from api.gathering.deps import CallerKey, GatheringDep
from api.render import MEDIA, form_of, rendered
from api.shown import moment_out
from engine.rows import SqlResult
from engine.sharding.alike import check_protocol
from engine.sharding.gather import Gathered, gather
from engine.sharding.select import select
from engine.sharding.shards import LostShardsError, Shard
from schemas.query import QueryRequest, SqlRequest
from schemas.shard import GatheredResponse, ShardFacts, ShardOut, ShardSaid

router = APIRouter(tags=["query"], dependencies=[CanRead])
_MOST_ROWS = 1_000_000


@router.post("/query", responses=problems(404))
async def post_query(
    request: Request, body: QueryRequest, gathering: GatheringDep, key: CallerKey
) -> GatheredResponse:
    """Find moments for a text or a picture in the videos of all shards."""
    found: Gathered = await gathering.queries.take(
        lambda: gather(gathering.shards, body, key), request
    )
    return GatheredResponse(
        moments=[moment_out(moment) for moment in found.moments],
        coverage={
            name: getattr(found.coverage, name) for name in found.coverage.__dataclass_fields__
        },
        plan=found.plan if body.options.explain else None,
        timing=found.timing,
        caution=found.caution,
        shards=[
            ShardSaid(
                name=shard.name,
                state="lost" if shard in found.lost else "answered",
                snapshot=found.snapshots.get(shard),
                reason=found.lost.get(shard),
            )
            for shard in gathering.shards.all
        ],
    )


@router.post("/sql", response_class=StreamingResponse, responses=problems(404))
async def post_sql(
    request: Request,
    body: SqlRequest,
    gathering: GatheringDep,
    key: CallerKey,
    accept: Annotated[str, Header()] = "application/json",
) -> StreamingResponse:
    """Run a SELECT on each shard and merge the rows; what cannot be merged is refused."""

    def run() -> tuple[SqlResult, Mapping[Shard, str]]:
        return select(
            gathering.shards, body.sql, body.params, body.options, key, max_rows=_MOST_ROWS
        )

    result, snapshots = await gathering.queries.take(run, request)
    form = form_of(accept)
    named = "; ".join(f"{shard.name}={snapshot}" for shard, snapshot in snapshots.items())
    return StreamingResponse(
        rendered(result.arrow(), form, result.seconds),
        media_type=MEDIA[form],
        headers={"X-Dejavu-Shards": named},
    )


@router.get("/shards")
async def list_shards(gathering: GatheringDep, key: CallerKey) -> list[ShardOut]:
    """List the shards, each with what it holds, or with why it gives no answer."""
    shards = gathering.shards

    def ask(shard: Shard) -> ShardOut:
        def facts(asked: Shard) -> ShardFacts:
            found = shards.calls(asked, key).json("GET", "/shard")
            check_protocol(found)
            return ShardFacts.model_validate(found)

        try:
            [found] = shards.each([shard], facts).values()
        except LostShardsError as error:
            return ShardOut(
                name=shard.name, place=shard.place, facts=None, reason=error.reasons[shard]
            )
        return ShardOut(name=shard.name, place=shard.place, facts=found, reason=None)

    return await gathering.relays.take(lambda: [ask(shard) for shard in shards.all])
