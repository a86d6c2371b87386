"""Questions: their answers, checked against the script by other code than that which asked."""

import re

import pytest

from engine.world import Clip, WorldQuestion, make_clip
from engine.world.captions import DOES
from engine.world.scene import TICKS, Shot, Thing
from engine.world.splits import colours_of

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4}
SINGULAR = re.compile(r"(?<=[sx])es$|s$")


def clips(split: str = "test", count: int = 150) -> list[Clip]:
    return [make_clip(seed, split) for seed in range(count)]


def things_of(clip: Clip) -> list[Thing]:
    return [thing for shot in clip.script.shots for thing in shot.things]


def find(clip: Clip, words: str) -> Thing:
    """The thing that a phrase such as `the red star` or `blue rings` names."""
    colour, noun = words.split()[-2:]
    named = [
        thing
        for thing in things_of(clip)
        if thing.shape in (noun, SINGULAR.sub("", noun))
        and colour in {name: tick for tick, name in thing.colours}
    ]
    assert len(named) == 1, words
    return named[0]


def shape_of(clip: Clip, noun: str) -> Thing:
    named = [thing for thing in things_of(clip) if thing.shape in (noun, SINGULAR.sub("", noun))]
    assert len(named) == 1
    return named[0]


def shot_of(clip: Clip, thing: Thing) -> Shot:
    return next(shot for shot in clip.script.shots if thing in shot.things)


def truth(clip: Clip, question: WorldQuestion, choice: str) -> bool:
    """Whether a choice is right, read from the script."""
    words = question.text.rstrip("?").split()
    if question.kind == "colour":
        return choice in [name for _, name in shape_of(clip, words[-1]).colours]
    if question.kind == "shape":
        return any(
            thing.shape == choice and words[4] in [name for _, name in thing.colours]
            for thing in things_of(clip)
        )
    if question.kind == "count":
        return shape_of(clip, words[2]).count == NUMBERS[choice]
    if question.kind == "pattern":
        return shape_of(clip, words[-2]).pattern == choice
    if question.kind == "brief" and words[1] == "colour":
        return choice == shape_of(clip, words[4]).colours[0][1]
    if question.kind == "brief":
        return any(
            thing.brief and choice.endswith(f" {thing.colours[0][1]} {thing.shape}")
            for thing in things_of(clip)
        )
    if question.kind in ("motion", "after"):
        thing = find(clip, " ".join(words[3:5]))
        act = thing.acts[-1]
        verb = DOES[act.motion][0]
        if act.other < 0:
            return choice == verb
        other = shot_of(clip, thing).things[act.other]
        return choice == f"{verb} the {other.colours[0][1]} {other.shape}"
    tick = happens(clip, choice)
    return tick is not None and all(
        other == choice or (at := happens(clip, other)) is None or at > tick
        for other in question.choices
    )


def happens(clip: Clip, text: str) -> int | None:
    """When an event that a text tells of happens in a clip; never: None."""
    words = text.split()
    thing, verb = find(clip, " ".join(words[1:3])), words[3]
    shot = shot_of(clip, thing)
    if verb.startswith("appear"):
        return thing.start if thing.start > shot.start else None
    if verb.startswith("vanish"):
        return thing.stop if thing.stop < shot.stop else None
    return next(tick for tick, name in thing.colours if name == words[4])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_exactly_the_answer_is_true(split: str) -> None:
    kinds = set()
    for clip in clips(split):
        for question in clip.questions:
            kinds.add(question.kind)
            right = [truth(clip, question, choice) for choice in question.choices]
            expected = [index == question.answer for index in range(4)]
            assert right == expected, (clip.seed, question)
    assert kinds == {"colour", "shape", "count", "pattern", "motion", "first", "after", "brief"}


def test_choices_are_four_and_differ() -> None:
    for clip in clips():
        for question in clip.questions:
            assert len(set(question.choices)) == 4
            assert 0 <= question.answer < 4


def test_answers_stand_anywhere() -> None:
    places = [question.answer for clip in clips() for question in clip.questions]
    assert all(places.count(place) > len(places) / 6 for place in range(4))


def test_spans_lie_in_the_clip() -> None:
    for clip in clips():
        for question in clip.questions:
            assert question.spans
            for start, stop in question.spans:
                assert 0 <= start < stop <= clip.duration_seconds


def test_brief_things_last_half_a_second_to_a_second() -> None:
    spans = [
        span for clip in clips() for question in clip.questions if question.kind == "brief"
        for span in question.spans
    ]  # fmt: skip
    assert len(spans) > 100
    assert all(0.5 <= stop - start <= 1.0 for start, stop in spans)


def test_text_alone_does_not_tell_what_is_false_in_training() -> None:
    """Every colour that is offered for a shape is true of that shape elsewhere in training."""
    for clip in clips("train", 300):
        for question in clip.questions:
            if question.kind == "colour":
                thing = shape_of(clip, question.text.rstrip("?").split()[-1])
                assert set(question.choices) <= set(colours_of("train", thing.shape))


def test_span_captions_tell_what_is_there() -> None:
    for clip in clips(count=60):
        for span in clip.spans:
            middle = round((span.start_seconds + span.stop_seconds) / 2 * TICKS)
            shot = clip.script.shot_at(middle)
            there = [thing for thing in shot.things if thing.shown_at(middle)]
            told = [thing for thing in there if thing.colour_at(middle) in span.caption]
            assert len(told) >= min(len(there), 3)
            assert ("nothing" in span.caption) == (not there)
