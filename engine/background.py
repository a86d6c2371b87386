"""Texts and pictures of all kinds, against which a match must stand out."""

from itertools import islice, product

from engine.knowledge import BUILTIN
from engine.search.context import Background
from engine.vision.backbone.locate import TIMM
from engine.world.clip import make_pool
from engine.world.render import render_at

_CLIPS = 24  # made-up clips that give one picture each, and as many others that give texts
_WHO = (
    *("a man", "a woman", "a child", "two people", "a crowd", "a dog", "a cat", "a bird"),
    *("a horse", "a red car", "a truck", "a bicycle", "a boat", "an aeroplane", "a train"),
    *("a tree", "a house", "food on a plate", "a computer screen", "a ball"),
)
_WHERE = (
    *("in a kitchen", "on a street", "in a park", "at the beach", "on a stage", "in an office"),
    *("at night", "in the snow", "on a field", "in a shop"),
)


def background_of(model: str) -> Background:
    """Return what a model's matches are measured against: its own world, or everyday life.

    The built-in model knows made-up clips only, so texts of everyday life would all be alike to it.
    """
    if model.startswith(TIMM):  # it reads no texts
        return Background(())
    if model != BUILTIN:
        return Background(tuple(f"{who} {where}" for who, where in product(_WHO, _WHERE)))
    clips = list(islice(make_pool("train", 2 * _CLIPS, seed=0), 2 * _CLIPS))
    texts = dict.fromkeys(span.caption for clip in clips[_CLIPS:] for span in clip.spans)
    images = [render_at(clip, clip.duration_seconds / 2) for clip in clips[:_CLIPS]]
    return Background(tuple(texts), tuple(images))
