"""Stores of made-up videos: some shards, and one store of all of their videos."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from api.app import create_app
from api.config import ServerSettings
from api.gathering.app import create_gathering_app
from engine.session import Engine
from engine.storage.sampling import Sampling
from engine.storage.store import Rows
from engine.storage.transcripts import Said
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from schemas.tables import LINES
from tests.api.conftest import URL, serving

TEXTS = ("a red circle", "a blue square moves left", "a star", "two triangles", "green")
PATIENT = {"shard_seconds": 600.0, "query_wait_seconds": 600.0, "query_seconds": 600.0}
SAID = ("the red car turns left", "a circle of friends", "left and left again", "nothing at all")


@dataclass(frozen=True, slots=True)
class FakeVideo:
    """A video by its vectors, one every half second, and what is said in it."""

    name: str
    vectors: NDArray[np.float32]
    lines: Sequence[str]
    camera: str


@dataclass(frozen=True, slots=True)
class Sharded:
    """Servers of shards behind one, and an engine that has all of their videos."""

    client: TestClient
    union: Engine
    shards: Mapping[str, Engine]
    urls: Sequence[str]  # of the shards, each NAME=URL
    names: Mapping[int, str]  # of the union's videos by the ids that they have over shards


def fake_videos(engine: Engine, count: int, seed: int) -> list[FakeVideo]:
    """Draw videos: noise, stretches that show a text, and now and then what another one shows."""
    draw = np.random.default_rng(seed)
    texts = engine.model.embed_texts(list(TEXTS))
    found: list[FakeVideo] = []
    for number in range(count):
        length = int(draw.integers(8, 40))
        vectors = draw.normal(size=(length, texts.shape[1]))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for _ in range(int(draw.integers(0, 4))):
            start = int(draw.integers(0, length))
            shown = vectors[start : start + int(draw.integers(1, 6))]
            shown += draw.uniform(0.3, 2.0) * texts[draw.integers(len(texts))]
        if found and draw.random() < 0.5:  # the same pictures, so the same scores
            other = found[int(draw.integers(len(found)))].vectors
            many = min(4, len(other), length)
            vectors[:many] = other[:many]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        lines = [str(draw.choice(SAID)) for _ in range(int(draw.integers(0, 4)))]
        camera = "north" if draw.random() < 0.5 else "south"
        found.append(FakeVideo(f"v{number}.mp4", vectors.astype(np.float32), lines, camera))
    return found


def store_videos(engine: Engine, videos: Sequence[FakeVideo]) -> None:
    """Put videos on record as an ingest would have."""
    store, space = engine.store, engine.model.space
    store.catalog.add_space(space)
    for number, video in enumerate(videos):
        seconds = len(video.vectors) / 2
        info = VideoInfo(
            *(f"/videos/{video.name}", "h264", 64, 48, 0, 25.0, seconds, 0.0),
            *(int(25 * seconds), 1000 + number, "yuv420p", False),
        )
        digest = f"{int.from_bytes(video.name.encode(), 'big'):064x}"
        video_id = store.catalog.add_video(info, digest, video.name)
        store.catalog.add_gops(video_id, [Gop(0, 0.0, seconds, info.num_frames, 0)])
        count = len(video.vectors)
        numbers = np.arange(count, dtype=np.int32)
        rows = Rows(
            *(numbers, numbers / 2, ["I"] * count, video.vectors, np.zeros(count, np.float32)),
            *(np.zeros(count, np.float32), np.ones(count, bool)),
        )
        store.write_part(video_id, space.key, Sampling(2), "dense", 0, 0.0, seconds, rows)
        store.finish_segment(video_id, space.key, Sampling(2), "dense", count)
        engine.tag(video_id, {"camera": video.camera})
        if video.lines:
            starts = np.arange(len(video.lines)) * 2.0
            columns = [starts.tolist(), (starts + 1.5).tolist(), list(video.lines)]
            lines = pa.table(columns, schema=LINES)
            store.transcripts.put(video_id, Said("en.srt", "en", "en.srt", lines))


@contextmanager
def sharded(folder: Path, *, shards: int = 3, videos: int = 12, seed: int = 0) -> Iterator[Sharded]:
    """Serve shards on real ports, a server before them, and open one store of all videos."""
    with ExitStack() as stack:
        union = stack.enter_context(Engine.open(folder / "union", device="cpu"))
        all_videos = fake_videos(union, videos, seed)
        store_videos(union, all_videos)
        owned = np.array_split(np.arange(videos), shards)
        engines: dict[str, Engine] = {}
        urls, names = [], {}
        for place, own in enumerate(owned):
            name = f"s{place}"
            engine = stack.enter_context(Engine.open(folder / name, device="cpu"))
            store_videos(engine, [all_videos[at] for at in own])
            engines[name] = engine
            for at in own:
                own_id = engine.video(all_videos[at].name).video_id
                names[place * 10_000_000_000 + own_id] = all_videos[at].name
            settings = ServerSettings(**PATIENT)
            port = stack.enter_context(serving(create_app(engine.load(), settings), settings))
            urls.append(f"{name}=http://127.0.0.1:{port}")
        settings = ServerSettings(shards=",".join(urls), **PATIENT)
        app = create_gathering_app(settings)
        client = stack.enter_context(TestClient(app, base_url=URL))
        yield Sharded(client, union, engines, urls, names)
