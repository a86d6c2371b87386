"""Group order, tails, refresh and cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.training.reusevit.pattern import PATTERNS, pattern
from engine.vision.streaming.schedule import ORDER, PlannedStep, Schedule, since_full
from kernels.select import CACHE, REFERENCES


def run(schedule: Schedule, arrivals: list[int], cuts: set[int]) -> list[tuple[int, PlannedStep]]:
    """Feed frames as they arrive; return each step with its first frame's number."""
    total, received, done, since = sum(arrivals), 0, 0, None
    steps: list[tuple[int, PlannedStep]] = []
    for at, count in enumerate(arrivals):
        received += count
        while step := schedule.step(
            since,
            received - done,
            last=at == len(arrivals) - 1,
            cuts=[number in cuts for number in range(done, received)],
        ):
            steps.append((done, step))
            done += step.size
            since = 0 if step.full else (since or 0) + step.size
    assert done == total
    return steps


@pytest.mark.parametrize(
    ("refresh", "full"), [(0, [0]), (4, [0, 5, 10, 15]), (8, [0, 9]), (6, [0, 7, 14]), (1, None)]
)
def test_full_frames_come_at_the_refresh_interval(refresh: int, full: list[int] | None) -> None:
    steps = run(Schedule(refresh), [18], set())
    expected = list(range(0, 18, 2)) if full is None else full
    assert [start for start, step in steps if step.full] == expected


@pytest.mark.parametrize("tail", [1, 2, 3])
def test_a_tail_is_a_short_group(tail: int) -> None:
    assert run(Schedule(), [1 + 4 + tail], set())[-1] == (5, PlannedStep(tail, full=False))


def test_an_incomplete_group_waits_until_the_stream_ends() -> None:
    assert Schedule().step(0, 3, last=False) is None
    assert Schedule().step(0, 3, last=True) == PlannedStep(3, full=False)


def test_a_cut_is_full_and_ends_the_group_before_it() -> None:
    steps = run(Schedule(), [12], {3})
    assert steps[:4] == [
        (0, PlannedStep(1, True)),
        (1, PlannedStep(2, False)),
        (3, PlannedStep(1, True)),
        (4, PlannedStep(4, False)),
    ]


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=8),
    st.integers(0, 9),
    st.sets(st.integers(0, 30), max_size=4),
)
def test_steps_do_not_depend_on_how_frames_arrive(
    arrivals: list[int], refresh: int, cuts: set[int]
) -> None:
    assert run(Schedule(refresh), arrivals, cuts) == run(Schedule(refresh), [sum(arrivals)], cuts)


def test_references_are_earlier_slots_and_the_past_one_comes_first() -> None:
    for order in ORDER.values():
        assert sorted(order) == list(range(len(order)))
        for slot, frame in enumerate(order):
            places = [-1 if r == CACHE else order[r] for r in REFERENCES[slot]]
            assert all(r < slot for r in REFERENCES[slot])
            assert places == sorted(places)
            assert len(places) == 1 or places[0] < frame < places[1]


def test_training_patterns_refer_back_and_list_the_past_first() -> None:
    for each in PATTERNS.values():
        assert len(each.offsets) == len(each.references) == len(each.kinds)
        assert each.references[0] == ()
        for slot, references in enumerate(each.references[1:], 1):
            assert all(r < slot for r in references)
            assert [each.offsets[r] for r in references] == sorted(
                each.offsets[r] for r in references
            )
    assert pattern("chain").span == 13


def test_wrong_values_are_refused() -> None:
    with pytest.raises(UsageError, match="refresh"):
        Schedule(-1)
    with pytest.raises(UsageError, match="nearest: chain"):
        pattern("chian")


@given(
    refresh=st.integers(0, 9),
    cuts=st.lists(st.booleans(), max_size=30),
    since=st.none() | st.integers(0, 9),
    last=st.booleans(),
)
def test_all_steps_at_once_are_those_one_by_one(
    refresh: int, cuts: list[bool], since: int | None, last: bool
) -> None:
    schedule, left, own = Schedule(refresh), list(cuts), since
    steps = []
    while step := schedule.step(own, len(left), last=last, cuts=left):
        steps.append(step)
        left, own = left[step.size :], 0 if step.full else (own or 0) + step.size
    assert schedule.steps(since, len(cuts), last=last, cuts=cuts) == steps
    assert since_full(since, steps) == own


def test_frames_one_by_one_wait_for_none() -> None:
    assert Schedule(group=1).steps(0, 3, last=False) == [PlannedStep(1, full=False)] * 3
    assert Schedule().steps(0, 3, last=False) == []
