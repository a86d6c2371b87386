"""Videos that do harm: sound clips in many containers, and ways to spoil their bytes."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from struct import pack

import av
import numpy as np

TITLE = "Summer at the lake"
# by suffix: codec and pixel format
CONTAINERS = {
    "mp4": ("libx264", "yuv420p"),
    "mov": ("mpeg4", "yuv420p"),
    "mkv": ("libx264", "yuv420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "ts": ("libx264", "yuv420p"),
    "flv": ("flv1", "yuv420p"),
    "ogv": ("libvpx", "yuv420p"),
    "gif": ("gif", "rgb8"),
    "apng": ("apng", "rgb24"),
}
Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]


def sound_clip(
    path: Path,
    *,
    pts: Sequence[int] = tuple(range(0, 2400, 100)),  # milliseconds
    size: tuple[int, int] = (64, 48),
    gop: int = 8,
    codec: str | None = None,
) -> Path:
    """Write a clip whose every picture looks different, with a title."""
    rng = np.random.default_rng(len(pts))
    name, pixels = CONTAINERS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        container.metadata["title"] = TITLE
        stream = container.add_stream(codec or name, rate=10)
        stream.pix_fmt = pixels
        stream.width, stream.height = size
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = gop
        for at in pts:
            image = rng.integers(0, 255, (3, 4, 3), np.uint8).repeat(size[1] // 3 + 1, 0)
            image = image.repeat(size[0] // 4 + 1, 1)[: size[1], : size[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def huge_gif(width: int, height: int, *, frames: int = 1) -> bytes:
    """A GIF whose pictures are as large as is said, with no more in them than one block of data."""
    screen = b"GIF89a" + pack("<HH", width, height) + b"\x80\0\0" + bytes([0, 0, 0, 255, 255, 255])
    picture = b"\x21\xf9\4\0\x0a\0\0\0" + b"\x2c" + pack("<HHHH", 0, 0, width, height) + b"\0"
    return screen + (picture + b"\2\2\x4c\1\0") * frames + b"\x3b"


def retitled(data: bytes, title: bytes) -> bytes:
    """Put other bytes where the title stands, no longer than it."""
    old = TITLE.encode()
    return data.replace(old, title[: len(old)].ljust(len(old), b" "))


def mutants(clips: Sequence[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` spoilt files: a name that says what was done, and the bytes."""
    rng = np.random.default_rng(seed)
    contents = [path.read_bytes() for path in clips]
    ways = list(MUTATIONS)
    for number in range(count):
        at, other = rng.integers(len(clips), size=2)
        way = ways[number % len(ways)]
        data = MUTATIONS[way](contents[at], contents[other], rng)
        yield f"{number:04d}-{way}-{clips[at].stem}{clips[at].suffix}", data


def _flip(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(data)
    for place in rng.integers(len(data), size=int(rng.integers(1, 65))):
        spoilt[place] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _flip_header(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    edge = min(1500, len(data))
    if rng.integers(2):
        return _flip(data[:edge], other, rng) + data[edge:]
    return data[:-edge] + _flip(data[-edge:], other, rng)


def _truncate(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _behead(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return data[int(rng.integers(len(data))) :]


def _swap(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    size = int(rng.integers(1, max(len(data) // 4, 2)))
    one, two = sorted(int(place) for place in rng.integers(len(data) - size, size=2))
    two = max(two, one + size)
    middle = data[one + size : two]
    return (
        data[:one] + data[two : two + size] + middle + data[one : one + size] + data[two + size :]
    )


def _blank(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(int(place) for place in rng.integers(len(data), size=2))
    fill = rng.bytes(stop - start) if rng.integers(2) else bytes(stop - start)
    return data[:start] + fill + data[stop:]


def _splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))] + other[int(rng.integers(len(other))) :]


def _extreme(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Sizes, counts, dimensions and times that no file has."""
    spoilt = bytearray(data)
    values = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x3FFFFFFF)
    for _ in range(int(rng.integers(1, 5))):
        edge = min(1500, len(data) - 4)
        place = (
            int(rng.integers(edge)) if rng.integers(2) else len(data) - 4 - int(rng.integers(edge))
        )
        order = ">" if rng.integers(2) else "<"
        spoilt[place : place + 4] = pack(f"{order}I", values[rng.integers(len(values))])
    return bytes(spoilt)


def _retitle(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    titles = ["Été à la mer".encode("latin-1"), "Été".encode("utf-16"), b"\0" * 18, b"\xff" * 18]
    return retitled(data, titles[rng.integers(len(titles))])


def _grow(data: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    place, size = int(rng.integers(len(data))), int(rng.integers(1, 4096))
    return data[:place] + rng.bytes(size) + data[place:]


MUTATIONS: dict[str, Mutation] = {
    "flip": _flip,
    "header": _flip_header,
    "cut": _truncate,
    "behead": _behead,
    "swap": _swap,
    "blank": _blank,
    "splice": _splice,
    "extreme": _extreme,
    "title": _retitle,
    "grow": _grow,
}
