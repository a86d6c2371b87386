"""Clips and pictures are made once, kept within a limit, and known by their ETag."""

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from api.shelf import Shelf, key_of
from api.turns import Turns
from engine.errors import VideoError
from engine.session import Engine
from tests.api.conftest import URL
from tests.waiting import LONG

TURNS = Turns("clips", 2, wait_seconds=LONG, seconds=LONG)


class Cutter:
    """Writes so many bytes and counts how often it was asked to."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.cuts = size, 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self, path: Path) -> None:
        """Write a clip."""
        self.cuts += 1
        assert self.go.wait(LONG)
        path.write_bytes(b"x" * self.size)


def age(path: Path, seconds: float) -> None:
    """Make a clip look as if nobody had asked for it lately."""
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_who_asks_at_the_same_time_waits_for_one_cut(tmp_path: Path) -> None:
    clips, cut = Shelf(tmp_path, 1 << 20), Cutter()
    cut.go.clear()

    async def ask() -> list[Path]:
        waiting = [asyncio.create_task(clips.get(1, "a", cut, TURNS)) for _ in range(8)]
        while not cut.cuts:
            await asyncio.sleep(0.005)
        waiting[0].cancel()  # who goes away leaves the others their clip
        cut.go.set()
        return await asyncio.gather(*waiting[1:])

    paths = asyncio.run(ask())
    assert (cut.cuts, set(paths)) == (1, {tmp_path / "1" / "a"})
    assert asyncio.run(clips.get(1, "a", cut, TURNS)) == paths[0]
    assert cut.cuts == 1


def test_a_cut_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    clips = Shelf(tmp_path, 1 << 20)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise VideoError("gone")

    with pytest.raises(VideoError, match="gone"):
        asyncio.run(clips.get(1, "a", fail, TURNS))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert asyncio.run(clips.get(1, "a", Cutter(), TURNS)).read_bytes() == b"x" * 10


def test_the_least_used_go_first_and_none_in_use(tmp_path: Path) -> None:
    clips, cut = Shelf(tmp_path, 25), Cutter()
    old, used = (asyncio.run(clips.get(1, key, cut, TURNS)) for key in "ab")
    age(old, 300)
    age(used, 200)
    asyncio.run(clips.get(1, "a", cut, TURNS))  # asked for again: now it is the newer one
    asyncio.run(clips.get(2, "c", cut, TURNS))
    assert (old.exists(), used.exists()) == (True, False)
    new = asyncio.run(clips.get(2, "d", cut, TURNS))  # above the limit, but all others are in use
    assert len(list(tmp_path.glob("*/*"))) == 3
    assert new.exists()


def test_a_key_tells_content_and_span_apart() -> None:
    keys = {key_of("h", 1.0, 2.0), key_of("h", 1.0, 3.0), key_of("i", 1.0, 2.0)}
    assert len(keys) == 3


def test_a_browser_is_told_what_it_has(client: TestClient, engine: Engine) -> None:
    url = "/videos/2/clip.mp4?start=1&stop=2"
    first = client.get(url)
    kept = list((engine.store.layout.clips / "2").iterdir())
    again = client.get("/videos/2/clip.mp4?start=1.0001&stop=2")
    assert (again.headers["etag"], again.content) == (first.headers["etag"], first.content)
    assert list((engine.store.layout.clips / "2").iterdir()) == kept != []
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        answer = client.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    part = client.get(url, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (part.status_code, part.content) == (206, first.content[10:20])
    assert client.get(url, headers={"Range": "bytes=10-19", "If-Range": '"o"'}).status_code == 200
    assert client.get("/videos/2/clip.mp4?start=1&stop=3").headers["etag"] != tag


def test_the_same_cut_is_the_same_bytes(client: TestClient, engine: Engine) -> None:
    url = "/videos/1/clip.mp4?start=0&stop=2"
    first = client.get(url)
    next((engine.store.layout.clips / "1").glob("*.mp4")).unlink()
    assert client.get(url).content == first.content


def test_clips_go_with_their_video(own_engine: Engine) -> None:
    with TestClient(create_app(own_engine, ServerSettings()), base_url=URL) as server:
        assert server.get("/videos/2/clip.mp4?start=0&stop=1").status_code == 200
        folder = own_engine.store.layout.clips / "2"
        assert list(folder.iterdir())
        assert server.delete("/videos/2").status_code == 204
        assert not folder.exists()


def test_what_fits_is_not_counted_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 1000)
    for number in range(30):
        asyncio.run(shelf.get(number, "a", Cutter(), TURNS))
        if number == 10:
            (tmp_path / "0" / "b").write_bytes(b"x" * 5000)  # seen at the next count alone
    assert len(list(tmp_path.glob("*/*"))) == 31


def test_a_picture_is_drawn_once(client: TestClient, engine: Engine) -> None:
    url = "/videos/1/frames/1.25.jpg?width=64"
    first = client.get(url)
    kept = list(engine.store.layout.clips.glob("1/*.jpg"))
    again = client.get("/videos/1/frames/1.2501.jpg?width=64")
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert list(engine.store.layout.clips.glob("1/*.jpg")) == kept != []
    answer = client.get(url, headers={"If-None-Match": f'"o", W/{first.headers["etag"]}'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": "*"}).status_code == 304
    other = client.get("/videos/1/frames/1.25.jpg?width=32")
    assert other.headers["etag"] != first.headers["etag"]
    for beyond, end in (("-5", "0"), ("99", "4")):
        ends = [client.get(f"/videos/1/frames/{at}.jpg") for at in (beyond, end)]
        assert ends[0].content == ends[1].content
