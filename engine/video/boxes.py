"""The boxes of MP4 and QuickTime files: what they claim, against the bytes that are there."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from engine.errors import CorruptVideoError
from engine.objects.address import Place
from engine.objects.remote import RemoteFile, open_bytes

# boxes that hold boxes
CONTAINERS = frozenset((b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
MOST_BOXES = 2_000_000  # such as a day in fragments of a third of a second
FREE_SAMPLES = 1_000_000  # that may be claimed in any file: each costs the demuxer 60 bytes
_SAMPLE_BYTES = 16  # that a sample takes at the least where more of them are claimed
_FEW_EDITS = 16  # what shows a video with a piece left out has two or three
_READ = (b"hdlr", b"stts", b"stsz", b"elst", b"trun")
_PER_SAMPLE = (0x100, 0x200, 0x400, 0x800)  # flags of a trun: four bytes of each sample


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its kind, where its body begins and where it ends."""

    kind: bytes
    start: int
    stop: int


def boxes(file: BinaryIO | RemoteFile, start: int, stop: int) -> Iterator[Box]:
    """Yield the boxes of a file in their order, those inside of others after these."""
    waiting, seen = [(start, stop)], 0
    while waiting:
        start, stop = waiting.pop()
        if start + 8 > stop:
            continue
        seen += 1
        if seen > MOST_BOXES:
            raise CorruptVideoError(f"it has more than {MOST_BOXES:,} boxes", path=str(file.name))
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        body = start + 8
        if length == 1 and len(head) == 16:
            length, body = struct.unpack(">Q", head[8:])[0], start + 16
        end = stop if length == 0 else min(start + length, stop)
        if end < body:
            continue  # a damaged box: nothing after it can be trusted
        yield Box(kind, body, end)
        waiting.append((end, stop))
        if kind in CONTAINERS:
            waiting.append((body, end))


@lru_cache(maxsize=1024)
def check_claims(path: Place, stamp: tuple[int, int, int]) -> None:
    """Refuse a file that claims far more samples than it has bytes for.

    The demuxer makes an entry for each that a table of equal sizes claims, whatever is there. Of
    sound in samples of one tick it makes one for each chunk.
    """
    size, claimed = stamp[1], 0
    try:
        with open_bytes(path) as file:
            claimed = _claimed(file, size)
    except CorruptVideoError as error:
        raise CorruptVideoError(f"{path.name}: {error}", path=str(path)) from error
    if claimed > max(FREE_SAMPLES, size // _SAMPLE_BYTES):
        said = f"{path.name} claims {claimed:,} samples in {size:,} bytes"
        raise CorruptVideoError(said, path=str(path))


@dataclass(slots=True)
class _Track:
    """What one track says so far."""

    samples: int = 0  # in a table of equal sizes
    listed: int = 0  # in a table of any sizes
    edits: int = 0
    handlers: set[bytes] = field(default_factory=set)
    ticks: bool = True  # every table of times has one entry, of one tick

    @property
    def entries(self) -> int:
        """How many entries the demuxer makes beyond those that take bytes of the file.

        Each of many edits may show all samples once more.
        """
        sound = self.handlers & {b"soun", b"vide"} == {b"soun"}
        equal = 0 if sound and self.ticks else self.samples
        return equal + (self.edits * (self.samples + self.listed) if self.edits > _FEW_EDITS else 0)


def _claimed(file: BinaryIO | RemoteFile, size: int) -> int:
    """Return how many samples are claimed that take no byte of a table, or often the same."""
    fragments, tracks = 0, [_Track()]
    for box in boxes(file, 0, size):
        if box.kind == b"trak":
            tracks.append(_Track())
        if box.kind not in _READ:
            continue
        file.seek(box.start)
        body = file.read(min(box.stop - box.start, 16))
        words = struct.unpack(f">{len(body) // 4}I", body[: len(body) // 4 * 4])
        if box.kind == b"hdlr":
            tracks[-1].handlers.add(body[8:12])
        elif box.kind == b"stts" and len(words) >= 2:
            tracks[-1].ticks &= words[1] == 1 and words[3:4] == (1,)
        elif box.kind == b"elst" and len(words) >= 2:
            tracks[-1].edits += words[1]
        elif box.kind == b"stsz" and len(words) >= 3 and words[1]:
            tracks[-1].samples += words[2]
        elif box.kind == b"stsz" and len(words) >= 3:
            tracks[-1].listed += min(words[2], size // 4)
        elif box.kind == b"trun" and len(words) >= 2:
            fragments += 0 if any(words[0] & flag for flag in _PER_SAMPLE) else words[1]
    return fragments + sum(track.entries for track in tracks)
