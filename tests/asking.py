"""Made-up videos in a real store, and an encoder that hashes: what queries are tested on."""

import shutil
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context, Reply
from engine.search.context import Background, Range
from engine.search.inquiry import Asked, Filled, Inquiry, OneOf, Sight, YesNo
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.words import Spoken
from engine.search.work import Embedded
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space


class HashEncoder:
    """Texts and images to vectors by their hash: the same in, the same out, nothing alike."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts."""
        return np.stack([hash_vector(text.encode()) for text in texts])

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors of pictures."""
        return np.stack([hash_vector(image.tobytes()) for image in images])


def hash_vector(data: bytes) -> NDArray[np.float32]:
    """A unit vector of 32 normal numbers from the hash of some bytes."""
    seed = int.from_bytes(sha256(data).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=32).astype(np.float32)
    return vector / np.linalg.norm(vector)


class Videos:
    """Three made-up videos of 20 s in 10 GOPs: a dog at 5-8 s, a cat at 10-12 s, noise between.

    The third is stored up to 10 s only; `embed` stores what is asked for and notes it.
    """

    def __init__(self, root: Path) -> None:
        self.space = Space("hash", "hash", "local", "0" * 64, "{}", 32)
        self.store = Store.open(root)
        self.asked: list[Range] = []
        if not self.store.catalog.videos():
            self.store.catalog.add_space(self.space)
            for number in (1, 2, 3):
                self.add(number)

    def add(self, number: int) -> None:
        """Put a video on record with its frames."""
        path = f"/videos/v{number}.mp4"
        info = VideoInfo(
            path, "h264", 64, 48, 0, 25.0, 20.0, 0.0, 500, 1000 * number, "yuv420p", False
        )
        video_id = self.store.catalog.add_video(info, f"{number:064x}", f"v{number}.mp4")
        gops = [Gop(index, 2.0 * index, 2.0 * index + 2, 50, index) for index in range(10)]
        self.store.catalog.add_gops(video_id, gops)
        self.write(video_id, 0, 10.0 if number == 3 else 20.0)
        if number != 3:
            self.store.finish_segment(video_id, self.space.key, Sampling(2), "dense", 40)

    def write(self, video_id: int, start: float, stop: float) -> int:
        """Store the frames of a part of a video; return how many."""
        numbers = np.arange(int(start * 2), int(stop * 2), dtype=np.int32)
        rows = Rows(
            numbers,
            numbers / 2,
            ["I" if number % 4 == 0 else "P" for number in numbers],
            np.stack([self.vector(video_id, int(number)) for number in numbers]),
            np.zeros(len(numbers), np.float32),
            np.zeros(len(numbers), np.float32),
            np.ones(len(numbers), bool),
        )
        stretch = int(start)
        self.store.write_part(
            video_id, self.space.key, Sampling(2), "dense", stretch, start, stop, rows
        )
        return len(numbers)

    def vector(self, video_id: int, number: int) -> NDArray[np.float32]:
        """What the frame with this number shows."""
        shows = {range(10, 16): b"a dog", range(20, 24): b"a cat"}
        vector = hash_vector(f"{video_id} {number}".encode())
        for frames, text in shows.items():
            if number in frames:
                vector = vector * 0.6 + (1 + 0.1 * video_id) * hash_vector(text)
        return vector / np.linalg.norm(vector)

    def embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        """Store missing ranges, as an ingest would."""
        self.asked += missing
        frames = sum(self.write(r.video_id, r.start_seconds, r.stop_seconds) for r in missing)
        return Embedded(videos=1, gops=len(missing), frames=frames, full=frames)

    def context(self, sandbox: Sandbox, **options: Any) -> Context:
        """What a query on these videos reaches."""
        return Context(
            reading=Reading(self.store, self.space.key),
            encoder=HashEncoder(),
            sandbox=sandbox,
            background=lambda: Background(tuple(f"background {n}" for n in range(200))),
            embed=self.embed,
            respond=lambda video, question, choices: Reply(
                (choices or (question,))[0], 0.5, 0.0, float(video)
            ),
            options=Options().override(options),
            spoken=Spoken(self.store.transcripts).words,
        )


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The isolated DuckDB in which statements run."""
    with Sandbox() as opened:
        yield opened


@pytest.fixture(scope="session")
def three_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with three videos, to be copied."""
    made = Videos(tmp_path_factory.mktemp("three") / "data")
    made.store.close()
    return made.store.layout.root


@pytest.fixture
def videos(three_videos: Path, tmp_path: Path) -> Iterator[Videos]:
    """A fresh store with three videos."""
    made = Videos(Path(shutil.copytree(three_videos, tmp_path / "data")))
    with made.store:
        yield made


@pytest.fixture(scope="module")
def shared_videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Videos]:
    """A store with three videos, all of them embedded, for tests that only read."""
    made = Videos(tmp_path_factory.mktemp("videos") / "data")
    made.write(3, 10.0, 20.0)
    made.store.finish_segment(3, made.space.key, Sampling(2), "dense", 40)
    with made.store:
        yield made


def as_asked(asked: Sequence[Asked]) -> list[Any]:
    """Answer of pictures by their frames' numbers alone: what a looker says of them."""
    return [_says(sight, inquiry) for sight, inquiry in asked]


def _says(sight: Sight, inquiry: Inquiry) -> Any:
    first = sight.frames[0]
    match inquiry:
        case YesNo():
            return first % 2 == 0
        case OneOf(labels):
            return labels[first % len(labels)]
        case Filled():
            names = inquiry.schema["properties"]
            return {name: f"{name} {first}" if first % 3 else None for name in names}
