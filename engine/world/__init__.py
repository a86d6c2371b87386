"""The made-up world: captioned clips by code, from a seed; needs numpy alone."""

from engine.world.clip import make_clip, make_pool
from engine.world.render import render_at, render_frames
from engine.world.scene import Clip, WorldQuestion, WorldSpan
from engine.world.splits import Split

__all__ = [
    "Clip",
    "Split",
    "WorldQuestion",
    "WorldSpan",
    "make_clip",
    "make_pool",
    "render_at",
    "render_frames",
]  # fmt: skip
