"""Decoding threads: back-pressure, faults and stalls."""

import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from engine.errors import CorruptVideoError
from engine.ingesting.plan import Source, Stretch, Task
from engine.ingesting.pool import DecodePool, Failed
from engine.ingesting.prepare import PreparedStretch
from engine.video.gop import Gop
from tests.waiting import until


def make_task(number: int, stretches: int = 2, pictures: int = 10) -> Task:
    gops = (Gop(0, 0.0, 10.0 * stretches, pictures, 0),)
    source = Source(Path(f"{number}.mp4"), (0, 0, 0), number, f"{number}.mp4", gops, 2.0)
    parts = tuple(Stretch(10.0 * at, 10.0 * at + 10) for at in range(stretches))
    return Task(source, parts, 0.0)


def simple(task: Task, tick: Callable[[], None]) -> Iterator[PreparedStretch]:
    for stretch in task.stretches:
        tick()
        yield PreparedStretch(task, stretch, [], [], 1, 0.0, "pyav")


def make_pool(tasks, prepare=simple, **settings) -> DecodePool:
    return DecodePool(
        **{"tasks": iter(tasks), "prepare": prepare, "workers": 2, "ahead": 3, **settings}
    )


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name in ("plan", "decode")}


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_everything_comes_once(workers, count) -> None:
    with make_pool([make_task(n) for n in range(count)], workers=workers) as pool:
        items = list(pool)
    assert sorted((i.task.source.video_id, i.stretch.start_seconds) for i in items) == [
        (number, start) for number in range(count) for start in (0.0, 10.0)
    ]
    assert threads() == set()


def test_no_more_than_a_few_wait() -> None:
    prepared, drawn = [], []

    def counting(task, tick):
        for item in simple(task, tick):
            prepared.append(item)
            yield item

    def tasks():
        for number in range(100):
            drawn.append(number)
            yield make_task(number)

    with make_pool(tasks(), counting) as pool:
        for taken, _ in enumerate(pool, 1):
            time.sleep(0.001)
            assert len(prepared) <= taken + 3 + 2
            assert len(drawn) <= len(prepared) / 2 + 2 * 2 + 2 + 1
    assert len(prepared) == 200


def test_what_is_ready_is_had_without_waiting() -> None:
    with make_pool([make_task(n) for n in range(5)]) as pool:
        first = next(iter(pool))
        until(lambda: pool._done.full())
        assert isinstance(first, PreparedStretch)
        assert len(pool.ready(2)) == 2
        assert pool.ready(0) == []


def test_a_task_that_fails_stops_no_other() -> None:
    def failing(task, tick):
        items = simple(task, tick)
        yield next(items)
        if task.source.video_id == 1:
            raise CorruptVideoError("broken")
        yield from items

    with make_pool([make_task(n) for n in range(4)], failing) as pool:
        items = list(pool)
    failed = [item for item in items if isinstance(item, Failed)]
    assert [(item.task.source.video_id, str(item.error)) for item in failed] == [(1, "broken")]
    assert len(items) - len(failed) == 7


def test_a_mistake_of_ours_is_raised() -> None:
    def wrong(task, tick):
        raise KeyError("ours")
        yield

    with pytest.raises(KeyError, match="ours"), make_pool([make_task(0)], wrong) as pool:
        list(pool)
    with pytest.raises(ZeroDivisionError), make_pool(1 / 0 for _ in "a") as pool:
        list(pool)
    assert threads() == set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the pool takes for the time; it goes on where a test says so."""
    now = [0.0]
    monkeypatch.setattr("engine.ingesting.pool.monotonic", lambda: now[0])
    return now


def test_a_decoder_that_hangs_is_given_up(clock: list[float]) -> None:
    released = threading.Event()

    def hanging(task, tick):
        items = simple(task, tick)
        yield next(items)
        if task.source.video_id == 2:
            clock[0] += 0.4
            released.wait()
        yield from items

    tasks = [make_task(n) for n in range(8)]
    with make_pool(tasks, hanging, workers=1, stall_seconds=0.3) as pool:
        items = list(pool)
    failed = [item for item in items if isinstance(item, Failed)]
    assert [item.task.source.video_id for item in failed] == [2]
    assert "no progress for 0.3 s" in str(failed[0].error)
    assert len(items) - len(failed) == 15
    released.set()


def test_a_decoder_that_moves_but_never_ends_is_given_up(clock: list[float]) -> None:
    def creeping(task, tick):
        while task.source.video_id == 1:
            tick()
            clock[0] += 0.01
        yield from simple(task, tick)

    tasks = [make_task(n, pictures=0) for n in range(3)]
    with make_pool(tasks, creeping, workers=1, stall_seconds=0.3) as pool:
        items = list(pool)
    [failed] = [item for item in items if isinstance(item, Failed)]
    assert failed.task.source.video_id == 1
    assert str(failed.error) == "decoding 0 pictures took more than 0.3 s"
    assert len(items) == 5


def test_a_slow_reader_is_no_stall(clock: list[float]) -> None:
    made = list[PreparedStretch]()

    def counting(task, tick):
        for item in simple(task, tick):
            made.append(item)
            yield item

    tasks = [make_task(n, pictures=0) for n in range(9)]
    with make_pool(tasks, counting, ahead=1, stall_seconds=0.3) as pool:
        for taken, item in zip(range(1, 9), pool, strict=False):
            assert isinstance(item, PreparedStretch)
            most = taken + 3  # one that is ready, and one that each thread holds
            until(lambda most=most: len(made) == most and {w.beat for w in pool._crew} == {inf})
            clock[0] += 0.4


def test_stopping_leaves_decoders_in_the_middle() -> None:
    def endless(task, tick):
        while True:
            tick()
            time.sleep(0.001)
        yield

    with make_pool([make_task(n) for n in range(4)], endless) as pool:
        pool.stop()
        assert list(pool) == []
    assert threads() == set()
