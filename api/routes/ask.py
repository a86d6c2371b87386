"""`POST /ask`: an answer in its steps, as one document or as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.deps import CanRead, EngineDep, HeavyDep, RoleDep
from api.describe import problems
from api.errors import problem_of
from api.shown import answer_out, claim_out, outlook_out
from engine.caller import for_one_who
from engine.calls import EVENTS
from engine.errors import EngineError
from engine.results import Answer, Claim, Follow, Outlook, Step, unfollowed
from schemas.ask import AskRequest, ForecastRequest, OutlookOut
from schemas.query import AnswerOut

router = APIRouter(prefix="/ask", tags=["ask"], dependencies=[CanRead])
_STEPS = {
    EVENTS: {
        "schema": {"type": "string"},
        "example": 'event: said\ndata: {"text": "The star is "}\n\n',
    }
}
_BEAT_SECONDS = 10.0  # silence after which a comment is sent, so that proxies keep the line open


@router.post(
    "",
    response_model=AnswerOut,
    responses={
        200: {"description": "The answer, or with Accept: text/event-stream each step of it",
              "content": _STEPS},
        **problems(404),
    },
)  # fmt: skip
async def post_ask(
    request: Request,
    body: AskRequest,
    engine: EngineDep,
    heavy: HeavyDep,
    role: RoleDep,
    accept: Annotated[str, Header()] = "application/json",
) -> AnswerOut | StreamingResponse:
    """Answer a question; each of its claims is held against the frames that it names."""

    def answer(follow: Follow) -> Answer:
        with for_one_who(sees_folders=role == "write", may_change=False):
            return engine.ask(
                body.question,
                body.choices,
                body.videos,
                body.where,
                schema=body.answer_schema,
                session=body.session,
                max_calls=body.max_calls,
                max_frames=body.max_frames,
                follow=follow,
            )

    if EVENTS not in accept:
        return answer_out(await heavy.queries.take(partial(answer, unfollowed), request))
    steps = _Steps(heavy.queries.take, answer)
    await steps.begun()  # what is wrong by then is a problem as any other
    return StreamingResponse(
        steps.events(request), media_type=EVENTS, headers={"Cache-Control": "no-store"}
    )


@router.post("/forecast", responses=problems(404))
async def post_forecast(
    request: Request, body: ForecastRequest, engine: EngineDep, heavy: HeavyDep, role: RoleDep
) -> OutlookOut:
    """Tell where a question would be looked into and what that costs at most; nothing is asked."""

    def foresee() -> Outlook:
        with for_one_who(sees_folders=role == "write", may_change=False):
            return engine.foresee(
                body.question,
                body.choices,
                body.videos,
                body.where,
                max_calls=body.max_calls,
                max_frames=body.max_frames,
            )

    return outlook_out(await heavy.queries.take(foresee, request))


class _Steps:
    """The steps of an answer that is being made in a thread, in the order in which they come."""

    def __init__(self, take: Callable[..., Any], answer: Callable[[Follow], Answer]) -> None:
        self._queue: asyncio.Queue[Step | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def follow(step: Step) -> None:
            loop.call_soon_threadsafe(self._queue.put_nowait, step)

        self._task = asyncio.ensure_future(take(partial(answer, follow)))
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        self._first: Step | None = None

    async def begun(self) -> None:
        """Wait for the first step; raise what came in its place."""
        try:
            self._first = await self._queue.get()
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self._first is None:
            self._first = await self._task

    async def events(self, request: Request) -> AsyncIterator[str]:
        """Yield each step; who goes away ends the work."""
        try:
            step = self._first
            while step is not None:
                yield _event(step)
                while True:
                    try:
                        step = await asyncio.wait_for(self._queue.get(), _BEAT_SECONDS)
                        break
                    except TimeoutError:
                        yield ": still here\n\n"
            try:
                yield _event(await self._task)
            except EngineError as error:
                told = bytes(problem_of(request, error).body).decode()
                yield f"event: error\ndata: {told}\n\n"
        finally:
            self._task.cancel()


def _event(step: Step) -> str:
    shown: BaseModel
    if isinstance(step, Outlook):
        name, shown = "outlook", outlook_out(step)
    elif isinstance(step, Claim):
        name, shown = "claim", claim_out(step)
    elif isinstance(step, Answer):
        name, shown = "answer", answer_out(step)
    else:
        return f"event: said\ndata: {json.dumps({'text': step.text})}\n\n"
    return f"event: {name}\ndata: {shown.model_dump_json()}\n\n"
