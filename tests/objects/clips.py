"""Videos for tests of reading by parts: a small one, and one that is spread over many gigabytes."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.video.write import write_h264


def write_clip(path: Path, seconds: int = 6, seed: int = 0) -> Path:
    """Write noise that moves over a ramp: each group of pictures takes some 50 KB."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 64, (96, 128, 3), np.uint8)
    ramp = np.linspace(0, 190, 128, dtype=np.uint8)[None, :, None]
    frames = (np.roll(noise, n, 1) + ramp for n in range(seconds * 10))
    write_h264(path, frames, 10, gop=10, crf=10.0)
    return path


def spread(path: Path, out: Path, size: int, *, front: bool) -> list[tuple[int, int]]:
    """Write the same video with its samples spread over `size` bytes, in a file with holes.

    The index stands before them, or behind. Returns where the samples lie and their sizes.
    """
    data = path.read_bytes()
    top = dict(_boxes(data, 0, len(data)))
    moov = data[slice(*top[b"moov"])]
    sizes, offsets = _samples(moov)
    head = data[slice(*top[b"ftyp"])]
    room = len(head) + len(moov) + 64 + 8 * len(sizes)
    base = (room if front else len(head)) + 16
    stride = (size - base - room) // len(sizes)
    placed = [base + number * stride for number in range(len(sizes))]
    new_moov = _placed(moov, placed)
    with out.open("wb") as file:
        file.write(head)
        if front:
            file.write(new_moov)
            file.write(_box(b"free", bytes(room - len(head) - len(new_moov) - 8)))
        start = file.tell()
        stop = size if front else size - len(new_moov)
        file.write(struct.pack(">I4sQ", 1, b"mdat", stop - start))
        for at, offset, length in zip(placed, offsets, sizes, strict=True):
            file.seek(at)
            file.write(data[offset : offset + length])
        if front:
            file.truncate(size)
        else:
            file.seek(stop)
            file.write(new_moov)
    return list(zip(placed, sizes, strict=True))


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    while start + 8 <= stop:
        length, kind = struct.unpack(">I4s", data[start : start + 8])
        yield kind, (start, start + length)
        start += length


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


_PATH = (b"trak", b"mdia", b"minf", b"stbl")


def _table(moov: bytes) -> dict[bytes, bytes]:
    inner = moov
    for kind in _PATH:
        inner = inner[slice(*dict(_boxes(inner, 8, len(inner)))[kind])]
    return {kind: inner[slice(*where)] for kind, where in _boxes(inner, 8, len(inner))}


def _samples(moov: bytes) -> tuple[list[int], list[int]]:
    """Return the sizes of samples and where they lie."""
    table = _table(moov)
    count = struct.unpack(">I", table[b"stsz"][16:20])[0]
    sizes = list(struct.unpack(f">{count}I", table[b"stsz"][20:]))
    chunks = struct.unpack(f">{(len(table[b'stco']) - 16) // 4}I", table[b"stco"][16:])
    runs = [
        struct.unpack(">III", table[b"stsc"][16 + 12 * n : 28 + 12 * n])
        for n in range((len(table[b"stsc"]) - 16) // 12)
    ]
    offsets: list[int] = []
    for number, at in enumerate(chunks, 1):
        in_chunk = next(run[1] for run in reversed(runs) if run[0] <= number)
        for _ in range(in_chunk):
            offsets.append(at)
            at += sizes[len(offsets) - 1]
    return sizes, offsets


def _placed(box: bytes, placed: list[int]) -> bytes:
    """Return a box with each sample a chunk of its own, at these places."""
    kind = box[4:8]
    if kind == b"stsc":
        return _box(kind, struct.pack(">IIIII", 0, 1, 1, 1, 1))
    if kind == b"stco":
        return _box(b"co64", struct.pack(f">II{len(placed)}Q", 0, len(placed), *placed))
    if kind in (b"moov", *_PATH):
        parts = (box[start:stop] for _, (start, stop) in _boxes(box, 8, len(box)))
        return _box(kind, b"".join(_placed(part, placed) for part in parts))
    return box
