"""Every step of every stream once and in order, places taken again as soon as they are free."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.vision.streaming.places import Round, rounds
from engine.vision.streaming.schedule import ORDER, PlannedStep, Schedule
from kernels.select import REFERENCES

STEPS = st.lists(
    st.builds(PlannedStep, size=st.integers(1, 4), full=st.just(False))
    | st.just(PlannedStep(1, full=True)),
    max_size=9,
)  # fmt: skip


@given(steps=st.lists(STEPS, max_size=9), room=st.integers(1, 5))
def test_every_step_once_and_in_order_at_one_place(
    steps: list[list[PlannedStep]], room: int
) -> None:
    seen: list[list[PlannedStep]] = [[] for _ in steps]
    places: dict[int, int] = {}
    taken: set[int] = set()
    for part in rounds(steps, room):
        for stream, place in part.begun():
            assert place not in taken
            assert not seen[stream]
            taken.add(place)
            places[stream] = place
        assert part.places.tolist() == sorted(set(part.places.tolist()))
        assert max(part.places) < room
        groups = zip(
            part.streams.tolist(), part.places, part.sizes, part.full, part.done, strict=True
        )
        for stream, place, size, full, done in groups:
            assert places[stream] == place
            assert done == sum(step.size for step in seen[stream])
            seen[stream].append(PlannedStep(int(size), bool(full)))
        for stream, place in part.ended():
            assert len(seen[stream]) == len(steps[stream])
            taken.remove(place)
    assert seen == steps
    assert not taken


@pytest.mark.parametrize("room", [8, 64])
def test_few_places_stay_empty(room: int) -> None:
    """Turns of a mixed set: streams that go on beside streams that begin in the same lane."""
    random, schedule = Random(0), Schedule()
    steps = []
    for _ in range(room):
        goes_on = random.randrange(1, 60)
        steps.append(schedule.steps(4, goes_on, last=True))
        steps.append(schedule.steps(None, 64 - goes_on, last=False))
    taken = [len(part.places) for part in rounds(steps, room)]
    assert sum(taken) == sum(map(len, steps))
    assert sum(taken) >= 0.95 * room * len(taken)
    assert min(taken[:-2]) == room


def test_a_long_stream_is_not_left_for_last() -> None:
    steps = [[PlannedStep(4, full=False)] * count for count in (1, 1, 1, 1, 8)]
    assert len(list(rounds(steps, 2))) == 8


def test_frames_lie_slot_by_slot_and_name_their_numbers() -> None:
    steps = [
        [PlannedStep(1, full=True), PlannedStep(4, full=False), PlannedStep(3, full=False)],
        [PlannedStep(2, full=False)],
    ]
    parts = list(rounds(steps, 2))
    assert _told(parts[0]) == [(0, 0, 0), (0, 1, 1), (1, 1, 0)]
    assert _told(parts[1]) == [(slot, 0, 1 + ORDER[4][slot]) for slot in range(4)]
    assert _told(parts[2]) == [(slot, 0, 5 + ORDER[3][slot]) for slot in range(3)]
    assert parts[0].frames().references.tolist() == [0, len(REFERENCES[0]), len(REFERENCES[1])]


def test_some_frames_are_chosen() -> None:
    [part] = rounds([[PlannedStep(4, full=False)]], 1)
    frames = part.frames()
    late = frames.chosen(np.isin(frames.slots, (2, 3)))
    assert late.slots.tolist() == [2, 3]
    assert late.numbers.tolist() == [0, 2]


def test_nothing_to_do_makes_no_round() -> None:
    assert list(rounds([[], []], 3)) == []
    assert list(rounds([], 0)) == []


def _told(part: Round) -> list[tuple[int, int, int]]:
    """Slot, stream and number of each frame."""
    frames = part.frames()
    streams = part.streams[frames.groups]
    return list(zip(frames.slots.tolist(), streams.tolist(), frames.numbers.tolist(), strict=True))
