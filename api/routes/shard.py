"""`/shard/…`: this server as one of several, asked step by step by the one that merges."""

import json
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from api.deps import CanRead, EngineDep, HeavyDep, RoleDep
from api.describe import problems
from api.errors import without_paths
from api.render import MEDIA, rendered
from engine import __version__
from engine.caller import for_one_who
from engine.errors import LimitError, UsageError
from engine.search.context import Null
from engine.search.fusion import SpokenPart
from engine.search.words import WordCounts
from engine.session import Engine
from engine.sharding.inquiry import Inquiry, InquiryFound, span_of
from engine.sharding.open_inquiries import OpenInquiries
from engine.sharding.select import SNAPSHOT
from engine.sharding.wire import packed, unpacked
from schemas.query import QueryRequest, SqlRequest
from schemas.shard import (
    PROTOCOL,
    BackgroundOut,
    FindRequest,
    FoundOut,
    InquiryOut,
    NullIn,
    SampleOut,
    ShardFacts,
    ShowOut,
    ShowRequest,
    SpanOut,
    SpokenOut,
    StretchIn,
    WordCountsIn,
)

router = APIRouter(prefix="/shard", tags=["shards"], dependencies=[CanRead])
_ROWS = {MEDIA["arrow"]: {"schema": {"type": "string", "format": "binary"}}}
_TRIES = 4  # of a statement while the store changes


def get_inquiries(request: Request) -> OpenInquiries:
    """Return the inquiries that are open here."""
    inquiries: OpenInquiries = request.app.state.inquiries
    return inquiries


def get_owner(request: Request) -> str:
    """Return whose key it is, so that nobody goes on with the inquiry of another."""
    return request.headers.get("authorization", "")


InquiriesDep = Annotated[OpenInquiries, Depends(get_inquiries)]
OwnerDep = Annotated[str, Depends(get_owner)]
InquiryName = Annotated[str, Path(max_length=100)]


@router.get("")
def get_shard(engine: EngineDep) -> ShardFacts:
    """Say what has to be the same in all shards."""
    return facts_of(engine)


@router.post("/inquiries", status_code=201)
async def begin_inquiry(
    request: Request,
    body: QueryRequest,
    engine: EngineDep,
    heavy: HeavyDep,
    inquiries: InquiriesDep,
    owner: OwnerDep,
    role: RoleDep,
) -> InquiryOut:
    """Begin a query at one moment of this store, which is kept until the query has ended."""
    if body.mode != "retrieval" or body.spaces is not None:
        raise UsageError("an inquiry is of one space and mode retrieval")

    def begin() -> InquiryOut:
        with for_one_who(sees_folders=role == "write", may_change=False):
            inquiry = engine.begin_inquiry(
                body.subject,
                top_k=body.top_k,
                videos=body.videos,
                group_by=body.group_by,
                min_score=body.min_score,
                mix=body.mix,
                where=body.where,
                signals=body.signals,
                **body.options.model_dump(exclude={"explain"}, exclude_none=True),
            )
        counts = inquiry.counts
        return InquiryOut(
            inquiry=inquiries.keep(inquiry, owner),
            snapshot=inquiry.snapshot,
            facts=facts_of(engine),
            rows=inquiry.rows,
            selected=len(inquiry.selection.names),
            unmatched=inquiry.unmatched,
            by_image=inquiry.sought.by_image,
            by_words=inquiry.sought.by_words,
            calibrated=inquiry.calibrated,
            words=counts
            and WordCountsIn(
                num_lines=counts.num_lines, num_words=counts.num_words, held=list(counts.held)
            ),
        )

    return await heavy.queries.take(begin, request)


@router.get("/inquiries/{name}/sample", responses=problems(404))
async def get_sample(
    heavy: HeavyDep,
    inquiries: InquiriesDep,
    owner: OwnerDep,
    name: InquiryName,
    first: Annotated[int, Query(ge=0, lt=2**62)],
    step: Annotated[int, Query(ge=1, lt=2**62)],
) -> SampleOut:
    """Return the vectors of every so many rows: of which a mean over all shards is made."""

    def sample() -> SampleOut:
        with inquiries.use(name, owner) as inquiry:
            vectors, exact = inquiry.sample(first, step)
        return SampleOut(vectors=packed(vectors, "<f2"), exact=exact)

    return await heavy.queries.take(sample)


@router.get("/inquiries/{name}/background", responses=problems(404))
async def get_background(
    heavy: HeavyDep, inquiries: InquiriesDep, owner: OwnerDep, name: InquiryName
) -> BackgroundOut:
    """Return what a match by chance scores against."""

    def read() -> BackgroundOut:
        with inquiries.use(name, owner) as inquiry:
            texts, images = inquiry.background()
        return BackgroundOut(texts=packed(texts), images=packed(images))

    return await heavy.queries.take(read)


@router.post("/inquiries/{name}/find", responses=problems(404))
async def find_in_inquiry(
    request: Request,
    body: FindRequest,
    heavy: HeavyDep,
    inquiries: InquiriesDep,
    owner: OwnerDep,
    name: InquiryName,
) -> FoundOut:
    """Rank what the best rows give, at the moment that the inquiry began with."""

    def find() -> FoundOut:
        with inquiries.use(name, owner) as inquiry:
            mean = None
            if body.mean is not None and inquiry.vector is not None:
                mean = unpacked(body.mean, len(inquiry.vector))[0:1].reshape(-1)
                if len(mean) != len(inquiry.vector):
                    raise UsageError(f"mean has {len(mean)} numbers; needed: {len(inquiry.vector)}")
            said, counts = body.words, None
            if said is not None:
                counts = WordCounts(said.num_lines, said.num_words, tuple(said.held))
            if counts and inquiry.counts and len(counts.held) != len(inquiry.counts.held):
                raise UsageError(
                    f"words has {len(counts.held)} of {len(inquiry.counts.held)} words"
                )
            return _found(inquiry, inquiry.find(body.depth, mean, counts, body.bar))

    return await heavy.queries.take(find, request)


@router.post("/inquiries/{name}/show", responses=problems(404))
async def show_of_inquiry(
    request: Request,
    body: ShowRequest,
    heavy: HeavyDep,
    inquiries: InquiriesDep,
    owner: OwnerDep,
    role: RoleDep,
    name: InquiryName,
) -> ShowOut:
    """Tell what is shown of this shard, and what it rests on; the inquiry ends with that."""

    def show() -> ShowOut:
        with inquiries.use(name, owner) as inquiry:
            spans = [span_of(*each) for each in map(_stretch, body.spans)]
            spoken = [SpokenPart(*_stretch(each), "", 0.0) for each in body.spoken]
            for each in (*body.spans, *body.spoken):
                if each.video_id not in inquiry.selection.names:
                    raise UsageError(f"the inquiry has no video {each.video_id}")
            shown = inquiry.show(spans, spoken, _null(body.null, inquiry))
            coverage = inquiry.coverage(edges_may_move=False)
            caution = inquiry.context.caution if inquiry.vector is not None else None
        inquiries.end(name, owner)
        return ShowOut(
            names=shown.names,
            clear=shown.clear,
            best=shown.best,
            approximate=shown.approximate,
            coverage=without_paths(coverage, role),
            caution=caution,
        )

    return await heavy.queries.take(show, request)


@router.post(
    "/sql",
    response_class=StreamingResponse,
    responses={200: {"description": "Rows", "content": _ROWS}, **problems(404)},
)
async def select_here(
    request: Request, body: SqlRequest, engine: EngineDep, heavy: HeavyDep, role: RoleDep
) -> StreamingResponse:
    """Run a SELECT at one moment of this store; the rows come as Arrow, with the moment's name."""
    positional = body.params if isinstance(body.params, list) else []
    named = body.params if isinstance(body.params, dict) else {}
    if "options" in named:
        raise UsageError("a parameter cannot be called options; allowed: any other name")

    def run() -> pa.Table:
        for _ in range(_TRIES):
            before = engine.snapshot()
            with for_one_who(sees_folders=role == "write", may_change=False):
                table = engine.sql(body.sql, *positional, options=body.options, **named).arrow()
            if engine.snapshot() == before:
                told = json.dumps({"name": before, "space": engine.space})
                return table.replace_schema_metadata({**table.schema.metadata, SNAPSHOT: told})
        said = "the store changed while each of several attempts ran"
        raise LimitError(said, kind="busy", again_seconds=2.0)

    table = await heavy.queries.take(run, request)
    return StreamingResponse(rendered(table, "arrow", 0.0), media_type=MEDIA["arrow"])


@router.delete("/inquiries/{name}", status_code=204)
def end_inquiry(inquiries: InquiriesDep, owner: OwnerDep, name: InquiryName) -> None:
    """Forget an inquiry that is not needed any more."""
    inquiries.end(name, owner)


def facts_of(engine: Engine) -> ShardFacts:
    """Return what has to be the same in all shards."""
    return ShardFacts(protocol=PROTOCOL, version=__version__, **engine.facts())


def _stretch(given: StretchIn) -> tuple[int, float, float]:
    return given.video_id, given.start_seconds, given.stop_seconds


def _null(given: NullIn | None, inquiry: Inquiry) -> Null | None:
    if given is None or inquiry.vector is None:
        return None
    texts, frames = (unpacked(v, len(inquiry.vector)) for v in (given.mean_text, given.mean_frame))
    if len(texts) != 1 or len(frames) != 1:
        raise UsageError("a null has one mean text and one mean frame")
    return Null(texts[0], frames[0], given.middle, given.width)


def _found(inquiry: Inquiry, found: InquiryFound) -> FoundOut:
    spans = [
        SpanOut(
            video_id=item.video_id,
            row=item.row_id,
            start_seconds=item.span.start_seconds,
            stop_seconds=item.span.stop_seconds,
            peak_seconds=item.span.peak_seconds,
            score=item.span.score,
        )
        for item in found.spans
    ]
    spoken = [
        SpokenOut(
            video_id=said.video_id,
            start_seconds=said.start_seconds,
            stop_seconds=said.stop_seconds,
            line=said.line,
            score=said.score,
        )
        for said in found.spoken
    ]
    return FoundOut(
        rows=found.hits.row_ids.tolist(),
        scores=found.hits.scores.tolist(),
        spans=spans,
        vectors=packed(found.vectors, "<f2"),
        spoken=spoken,
        largest_error=found.largest_error,
        refined=found.refined,
        snapshot=inquiry.snapshot,
        how=found.hits.index,
    )
