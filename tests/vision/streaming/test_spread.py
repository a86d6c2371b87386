"""Processes that share a line of work: every item once, an end when asked, errors said."""

import time
from collections.abc import Iterator

import pytest
import torch

from engine.errors import ExecutionError, UsageError
from engine.vision.streaming.spread import spread


def squares(device: torch.device, items: Iterator[int]) -> Iterator[int]:
    for item in items:
        if item < 0:
            raise ValueError(f"{item} on {device}")
        yield item * item


@pytest.mark.slow
def test_every_item_once_until_stopped() -> None:
    found = list(spread(squares, range(20), ["cpu", "cpu"], held=2))
    assert sorted(result for _, result in found) == [item * item for item in range(20)]
    assert {number for number, _ in found} <= {0, 1}
    few: list[int] = []
    endless = spread(squares, iter(int, 1), ["cpu"], held=2, stopped=lambda: len(few) > 3)
    few.extend(result for _, result in endless)
    assert 3 < len(few) < 20


def sleeps(device: torch.device, items: Iterator[float]) -> Iterator[str]:
    for item in items:
        yield str(device)
        time.sleep(item)


@pytest.mark.slow
def test_an_end_waits_for_nothing() -> None:
    begun: list[str] = []
    endless = spread(sleeps, [3600.0], ["cpu"], held=1, ended=lambda: bool(begun))
    begun.extend(name for _, name in endless)
    assert begun == ["cpu"]


@pytest.mark.slow
def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(ExecutionError, match="ValueError: -1 on cpu"):
        list(spread(squares, [-1], ["cpu"], held=1))


def test_a_device_is_needed() -> None:
    with pytest.raises(UsageError, match="devices"):
        next(spread(squares, [], [], held=1))
