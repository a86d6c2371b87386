"""Scripts: same seed, same clip; splits that share no combination; a dial that is obeyed."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.world import Clip, make_clip, make_pool
from engine.world.scene import position_at
from engine.world.splits import SHAPES, colours_of, motions_of

SPLITS = ("train", "val", "test")


def pairs(clip: Clip) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    things = [thing for shot in clip.script.shots for thing in shot.things]
    colours = {(thing.shape, name) for thing in things for _, name in thing.colours}
    motions = {(thing.shape, act.motion) for thing in things for act in thing.acts}
    return colours, {pair for pair in motions if pair[1] != "still"}


def test_splits_share_no_combination() -> None:
    found = {split: (set(), set()) for split in SPLITS}
    for split in SPLITS:
        for seed in range(150):
            for mine, new in zip(found[split], pairs(make_clip(seed, split)), strict=True):
                mine.update(new)
    for kind in (0, 1):
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            assert found[a][kind]
            assert not found[a][kind] & found[b][kind]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_its_share_in_every_split(shape: str) -> None:
    assert [len(colours_of(split, shape)) for split in SPLITS] == [8, 2, 2]
    assert [len(motions_of(split, shape)) for split in SPLITS] == [6, 2, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 62), st.sampled_from(SPLITS))
def test_a_seed_gives_one_clip_that_is_whole(seed: int, split: str) -> None:
    clip = make_clip(seed, split)
    assert clip == make_clip(seed, split)
    assert 5 <= clip.duration_seconds <= 60
    shots = clip.script.shots
    assert shots[0].start == 0
    assert shots[-1].stop == clip.script.duration
    assert all(a.stop == b.start for a, b in itertools.pairwise(shots))
    for shot in shots:
        assert 1 <= sum(thing.count for thing in shot.things) <= 7
        for thing in shot.things:
            assert shot.start <= thing.start < thing.stop <= shot.stop
            for keys in thing.keys:
                ticks = [key.tick for key in keys]
                assert all(a < b for a, b in itertools.pairwise(ticks))
                assert position_at(keys, (thing.start + thing.stop) // 2)[2] > 0


def test_shapes_and_colours_name_one_thing_in_a_clip() -> None:
    for seed in range(100):
        things = [t for shot in make_clip(seed, "test").script.shots for t in shot.things]
        colours = [name for thing in things for _, name in thing.colours]
        assert len({thing.shape for thing in things}) == len(things)
        assert len(set(colours)) == len(colours)


def test_captions_of_a_pool_are_distinct() -> None:
    captions = [clip.caption for clip in make_pool("test", 400, 7)]
    assert len(set(captions)) == 400
    assert [clip.caption for clip in make_pool("test", 5, 7)] == captions[:5]


def test_dials_are_obeyed() -> None:
    clip = make_clip(1, "train", duration_seconds=33.5, redundancy=0.25)
    assert clip.duration_seconds == 33.5
    assert clip.redundancy == 0.25
    still = [make_clip(seed, "train", redundancy=1.0).script for seed in range(40)]
    assert all(len(script.shots) == 1 for script in still)
    assert all(script.shots[0].camera == "fixed" for script in still)
    busy = [make_clip(seed, "train", redundancy=0.0).script for seed in range(40)]
    assert any(len(script.shots) > 1 for script in busy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset'; allowed: test, train, val; nearest: test"),
        ({"split": "test", "duration_seconds": 1.0}, "duration 1.0 s; allowed: 2 to 600 s"),
        ({"split": "test", "redundancy": 1.5}, "redundancy 1.5; allowed: 0 to 1"),
    ],
    ids=["split", "duration", "redundancy"],
)
def test_wrong_dials_fail(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_clip(0, **arguments)
    assert str(caught.value) == message
