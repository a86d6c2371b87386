"""The made-up world: captioned clips by code, from a seed; needs numpy alone."""

from engine.world.clip import make_clip, make_pool
from engine.world.render import render_at, render_frames
from engine.world.scene import Clip, Question, Span
from engine.world.splits import Split

__all__ = [
    "Clip", "Question", "Span", "Split", "make_clip", "make_pool", "render_at", "render_frames",
]  # fmt: skip
