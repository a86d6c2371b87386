"""Bounded threads for each kind of heavy work, so that one kind cannot starve another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from api.errors import HttpProblem
from engine.cage.ending import Ending
from engine.errors import LimitError

T = TypeVar("T")
_LINE = 16  # who may wait for each place; more are sent away at once


class Turns:
    """The places of one kind of work; `what` is its name where none is free."""

    def __init__(self, what: str, places: int, *, wait_seconds: float, seconds: float) -> None:
        self._what = what
        self._places = places
        self._wait_seconds = wait_seconds
        self._seconds = seconds
        self._free = asyncio.Semaphore(places)
        self._threads = ThreadPoolExecutor(places, thread_name_prefix=what)
        self._waiting = 0

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def take(self, work: Callable[[], T], request: Request | None = None) -> T:
        """Do the work when a place is free; it is free again when the thread has ended.

        Without a free place soon, or past the time limit, the caller is told to come back later.
        Who of a request has gone meanwhile is not waited for. Statements of work that nobody waits
        for are ended.
        """
        async with _departure(request) as gone:
            await self._enter(gone)
            ending = Ending()
            loop = asyncio.get_running_loop()
            task = loop.run_in_executor(self._threads, copy_context().run, ending.run, work)
            task.add_done_callback(self._ended)
            first = (task, gone)
            try:
                await asyncio.wait(first, timeout=self._seconds, return_when="FIRST_COMPLETED")
            finally:
                if not task.done():
                    ending.end()
            if task.done():
                return task.result()
            if gone.done():
                raise ClientDisconnect
        said = f"the work ran longer than the {self._seconds:g} seconds allowed for {self._what}"
        raise LimitError(said, kind="time")

    async def _enter(self, gone: "asyncio.Future[None]") -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        busy = f"{self._places} {self._what} are running, as many as are allowed"
        if self._waiting >= _LINE * self._places:
            raise HttpProblem(503, busy, retry_after="2")
        self._waiting += 1
        place = asyncio.ensure_future(self._free.acquire())
        entered = False
        try:
            await asyncio.wait(
                (place, gone), timeout=self._wait_seconds, return_when="FIRST_COMPLETED"
            )
            entered = place.done() and not gone.done()
        finally:
            self._waiting -= 1
            if not entered and not place.cancel():
                self._free.release()
        if gone.done():
            raise ClientDisconnect
        if not entered:
            raise HttpProblem(503, busy, retry_after="2")

    def _ended(self, done: "asyncio.Future[T]") -> None:
        self._free.release()
        if not done.cancelled():
            done.exception()  # looked at, also when nobody waits any more


@asynccontextmanager
async def _departure(request: Request | None) -> "AsyncIterator[asyncio.Future[None]]":
    """Give what is done when the caller of a request, whose body was read, has gone."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if request is not None:
        gone = asyncio.ensure_future(_hang_up(request))
    try:
        yield gone
    finally:
        gone.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
