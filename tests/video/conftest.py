"""Clips whose frames say their own number."""

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

BITS, EDGE = 8, 16


def numbered_image(number: int, size: tuple[int, int] = (48, 128)) -> np.ndarray:
    """A picture with its number as eight black or white squares; the rest changes too."""
    image = np.full((*size, 3), 40 + number * 7 % 120, np.uint8)
    for bit in range(BITS):
        image[:EDGE, bit * EDGE : (bit + 1) * EDGE] = 255 if number >> bit & 1 else 0
    return image


def number_on(image: np.ndarray) -> int:
    """Read the number back."""
    return sum(
        1 << bit
        for bit in range(BITS)
        if image[4 : EDGE - 4, bit * EDGE + 4 : (bit + 1) * EDGE - 4].mean() > 127
    )


def plain_decode(path: Path) -> list[tuple[float, bytes]]:
    """Times and pixels as a plain PyAV loop gives them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        return [
            (
                frame.pts * base.numerator / base.denominator,
                frame.to_ndarray(format="rgb24").tobytes(),
            )
            for frame in container.decode(stream)
        ]


def write_clip(
    path: Path,
    codec: str,
    images: Iterable[np.ndarray],
    *,
    pts: Iterable[int] | None = None,
    rate: int = 25,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    **options: str,
) -> Path:
    """Write with any codec libav has; `pts` counts in 1/rate seconds."""
    images = list(images)
    policy = os.sched_getscheduler(0), os.sched_getparam(0)
    muxer = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pix_fmt
        stream.height, stream.width = images[0].shape[:2]
        stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in zip(pts or range(len(images)), images, strict=False):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    os.sched_setscheduler(0, *policy)  # SVT-AV1 gives whoever calls it as root real-time priority
    return path


@pytest.fixture(name="numbered_image")
def numbered_image_fixture() -> Callable[..., np.ndarray]:
    return numbered_image


@pytest.fixture(name="number_on")
def number_on_fixture() -> Callable[[np.ndarray], int]:
    return number_on


@pytest.fixture(name="plain_decode")
def plain_decode_fixture() -> Callable[[Path], list[tuple[float, bytes]]]:
    return plain_decode


@pytest.fixture(name="write_clip")
def write_clip_fixture() -> Callable[..., Path]:
    return write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty numbered frames at 25 per second with B-frames, a key picture at least every 15."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    return write_clip(
        path, "libx264", map(numbered_image, range(60)), g="15", bf="2", sc_threshold="0"
    )
