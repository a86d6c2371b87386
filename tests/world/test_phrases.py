"""Phrases: the first is true, and the others differ from it by one word."""

from engine.world import make_clip
from engine.world.draw import Draw
from engine.world.labels import KINDS, label_patches
from engine.world.phrases import make_phrases
from engine.world.splits import COLOURS, SHAPES


def test_the_first_phrase_is_true_and_the_others_are_one_swap_away() -> None:
    for seed in range(200):
        script = make_clip(seed, "train").script
        tick = script.duration * 2 // 3
        shot = script.shot_at(tick)
        phrases = make_phrases(shot, tick, Draw(seed))
        if phrases is None:
            assert not any(thing.shown_at(tick) for thing in shot.things)
            continue
        true, *false = phrases.texts
        assert phrases.start <= tick < phrases.stop
        assert len(set(phrases.texts)) == 4
        assert any(
            f"{thing.colour_at(tick)} {thing.shape}" in true
            for thing in shot.things
            if thing.shown_at(tick)
        )
        for text in false:
            assert len(set(text.split()) - set(true.split()) - {"a", "an"}) <= 4
            assert text != true


def test_labels_name_what_is_there() -> None:
    found = 0
    for seed in range(60):
        script = make_clip(seed, "test").script
        tick = script.duration // 2
        labels = label_patches(script, tick, 14)
        assert labels.shape == (len(KINDS), 196)
        shown = [thing for thing in script.shot_at(tick).things if thing.shown_at(tick)]
        looks = {(thing.shape, thing.colour_at(tick)) for thing in shown}
        for shape, colour in {(int(a), int(b)) for a, b in labels[:2].T if a}:
            assert (SHAPES[shape - 1], tuple(COLOURS)[colour - 1]) in looks
            found += 1
        assert ((labels == 0).all(0) | (labels > 0).all(0)).all()
    assert found > 60
