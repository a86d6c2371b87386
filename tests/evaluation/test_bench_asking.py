"""`bench ask`: questions that one video of a store alone can be about."""

import pytest

from engine.evaluation.bench.asking import find_cases, share_right, shows
from engine.world.clip import make_clip
from engine.world.scene import Clip
from engine.world.splits import COLOURS


@pytest.fixture(scope="module")
def pool() -> list[Clip]:
    """Clips as scripts; nothing is drawn."""
    return [make_clip(seed, "test", duration_seconds=8.0) for seed in range(12)]


def test_what_a_clip_shows(pool: list[Clip]) -> None:
    thing = pool[0].script.shots[0].things[0]
    colour = thing.colours[0][1]
    assert shows(pool[0], f"What does the {colour} {thing.shape} do?")
    assert shows(pool[0], f"What shape is the {colour} object?")
    assert shows(pool[0], f"How many {thing.shape}s are there?")
    assert shows(pool[0], "What happens first?")
    present = {name for shot in pool[0].script.shots for t in shot.things for _, name in t.colours}
    absent = next(name for name in COLOURS if name not in present)
    assert not shows(pool[0], f"What does the {absent} {thing.shape} do?")


def test_cases_name_one_video(pool: list[Clip]) -> None:
    cases = list(find_cases(pool, 4, seed=0))
    assert cases
    clips = {clip.name: clip for clip in pool}
    for case in cases:
        assert len(case.store) == 4
        assert [n for n in case.store if shows(clips[n], case.question.text)] == [case.video]


def test_the_share_that_is_right(pool: list[Clip]) -> None:
    case = next(find_cases(pool, 4, seed=0))
    assert share_right([case], lambda video, _: float(video == case.video)) == 1
    assert share_right([case], lambda video, _: float(video != case.video)) == 0
    assert share_right([], lambda *_: 0.0) is None
