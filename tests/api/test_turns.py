"""Places for heavy work: so many at a time, none lost, nobody waited for who has gone."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.errors import HttpProblem
from api.turns import Turns
from engine.cage.sandbox import Sandbox
from engine.errors import LimitError
from tests.waiting import LONG


class Latch:
    """Work that waits until it may end."""

    def __init__(self) -> None:
        self.go, self.begun, self.running, self.most = threading.Event(), 0, 0, 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """Do it."""
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(LONG)
        with self._lock:
            self.running -= 1
        return "done"


def caller(leaves: Callable[[], bool]) -> Request:
    """A request whose caller goes when told."""

    async def receive() -> Message:
        while not leaves():
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def turns(places: int = 2, **limits: Any) -> Turns:
    """Places with all the time there is, but for what is given."""
    return Turns("cakes", places, **{"wait_seconds": LONG, "seconds": LONG, **limits})


async def until(ready: Callable[[], bool]) -> None:
    """Wait for something without holding up the loop."""
    async with asyncio.timeout(LONG):
        while not ready():
            await asyncio.sleep(0.005)


def test_so_many_run_and_the_others_are_told_to_come_back() -> None:
    async def run() -> None:
        some, gate = turns(wait_seconds=0.05), Latch()
        asked = [asyncio.create_task(some.take(gate)) for _ in range(5)]
        await until(lambda: sum(task.done() for task in asked) == 3)
        gate.go.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert results.count("done") == 2
        refused = [each for each in results if isinstance(each, HttpProblem)]
        assert {each.status_code for each in refused} == {503}
        assert all(each.headers and int(each.headers["retry-after"]) for each in refused)
        assert (gate.most, gate.begun) == (2, 2)
        assert await some.take(gate) == "done"

    asyncio.run(run())


def test_who_waits_is_served_when_a_place_is_free() -> None:
    async def run() -> None:
        some, gate = turns(1), Latch()
        asked = [asyncio.create_task(some.take(gate)) for _ in range(4)]
        await until(lambda: gate.begun == 1)
        gate.go.set()
        assert await asyncio.gather(*asked) == ["done"] * 4
        assert gate.most == 1

    asyncio.run(run())


def test_a_line_that_is_too_long_is_told_at_once() -> None:
    async def run() -> None:
        some, gate = turns(1), Latch()
        asked = [asyncio.create_task(some.take(gate)) for _ in range(40)]
        await until(lambda: sum(task.done() for task in asked) > 20)
        gate.go.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert results.count("done") == 17  # one at work, sixteen in line

    asyncio.run(run())


def test_who_has_gone_is_not_worked_for() -> None:
    async def run() -> None:
        some, gate, left = turns(1), Latch(), threading.Event()
        first = asyncio.create_task(some.take(gate, caller(lambda: False)))
        await until(lambda: gate.begun == 1)
        gone = [asyncio.create_task(some.take(gate, caller(left.is_set))) for _ in range(8)]
        await asyncio.sleep(0.02)
        left.set()
        results = await asyncio.gather(*gone, return_exceptions=True)
        assert all(isinstance(each, ClientDisconnect) for each in results)
        gate.go.set()
        assert await first == "done"
        assert gate.begun == 1
        assert await some.take(gate) == "done"

    asyncio.run(run())


def test_who_goes_while_it_runs_leaves_the_place_until_the_thread_has_ended() -> None:
    async def run() -> None:
        some, gate = turns(1, wait_seconds=0.05), Latch()
        with pytest.raises(ClientDisconnect):
            await some.take(gate, caller(lambda: gate.begun == 1))
        with pytest.raises(HttpProblem, match="503"):
            await some.take(gate)
        gate.go.set()
        await until(lambda: not some._free.locked())
        assert await some.take(gate) == "done"

    asyncio.run(run())


def test_past_its_time_it_is_told_so() -> None:
    async def run() -> None:
        some, gate = turns(1, seconds=0.05), Latch()
        with pytest.raises(LimitError, match=r"0\.05 seconds allowed for cakes") as caught:
            await some.take(gate)
        assert caught.value.kind == "time"
        gate.go.set()

    asyncio.run(run())


def test_being_cancelled_loses_no_place() -> None:
    async def run() -> None:
        some, gate = turns(1), Latch()
        first = asyncio.create_task(some.take(gate))
        waiting = [asyncio.create_task(some.take(gate)) for _ in range(5)]
        await until(lambda: gate.begun == 1)
        for task in waiting[:4]:
            task.cancel()
        gate.go.set()
        waiting[4].cancel()
        await asyncio.gather(first, *waiting, return_exceptions=True)
        assert await asyncio.wait_for(some.take(gate), LONG) == "done"

    asyncio.run(run())


@pytest.mark.parametrize("why", ["time", "gone", "cancelled"])
def test_a_statement_that_nobody_waits_for_is_ended(why: str, sandbox: Sandbox) -> None:
    said: list[str] = []

    def work() -> None:
        with pytest.raises(LimitError) as caught:
            sandbox.run("SELECT sum(range) FROM range(1000000000000)", {}, max_rows=1)
        said.append(caught.value.kind)

    async def run() -> None:
        left = threading.Event()
        some = turns(1, seconds=0.5 if why == "time" else LONG)
        task = asyncio.create_task(some.take(work, caller(left.is_set)))
        await asyncio.sleep(0.3)
        if why == "gone":
            left.set()
        if why == "cancelled":
            task.cancel()
        with pytest.raises((LimitError, ClientDisconnect, asyncio.CancelledError)):
            await task
        await until(lambda: bool(said))

    asyncio.run(run())
    assert said == ["ended"]
