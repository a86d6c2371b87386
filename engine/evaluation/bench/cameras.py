"""Clips of a fixed camera to measure ingests on: the made-up world with grain, coded four ways."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engine.world.clip import make_clip
from engine.world.render import render_frames

SIZE = 224
GRAIN = 3.0  # levels


@dataclass(frozen=True, slots=True)
class Coding:
    """How a camera codes."""

    gop_seconds: float
    bframes: int
    crf: int | None = None
    bits_per_pixel: float | None = None  # a second; a constant rate

    def options(self, fps: float, pixels: int) -> dict[str, str]:
        """Return libx264's options."""
        gop = str(max(1, round(self.gop_seconds * fps)))
        options = {"preset": "veryfast", "g": gop, "keyint_min": gop, "bf": str(self.bframes)}
        options |= {"sc_threshold": "0"}  # key pictures by the clock
        if self.bits_per_pixel is None:
            return options | {"crf": str(self.crf)}
        rate = str(round(self.bits_per_pixel * pixels))
        return options | {"b": rate, "maxrate": rate, "bufsize": rate}


CODINGS = {
    "1s": Coding(1, 0, crf=23),
    "2s-b": Coding(2, 2, crf=28),
    "constant": Coding(1, 0, bits_per_pixel=1.0),
    "10s": Coding(10, 0, crf=23),
}


def write_camera(
    path: Path, seed: int, coding: Coding, *, seconds: float = 120.0, redundancy: float = 0.85
) -> Path:
    """Write a made-up test clip as a camera would see and code it."""
    clip = make_clip(seed, "test", duration_seconds=seconds, redundancy=redundancy)
    frames = _grainy(render_frames(clip, SIZE), seed)
    options = coding.options(clip.fps, SIZE * SIZE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps), options=options)
        stream.pix_fmt, stream.width, stream.height = "yuv420p", SIZE, SIZE
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _grainy(frames: Iterator[NDArray[np.uint8]], seed: int) -> Iterator[NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    for image in frames:
        grain = random.normal(0, GRAIN, (*image.shape[:2], 1))
        yield np.clip(image + grain, 0, 255).astype(np.uint8)
