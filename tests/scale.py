"""A store of very many videos and frames, and what the page takes on it.

python -m tests.scale --videos 100000 --frames 100000
python -m tests.scale --requests    # without a browser: what requests cost the server
"""

import argparse
import json
import os
import time
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from starlette.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from engine.storage.database import Database
from engine.storage.ledger import Ledger
from engine.storage.sampling import Sampling
from engine.storage.store import Rows
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames

FPS = 2.0  # of the clip: each of its frames has a row
FIRST = 10  # videos that hold the frames; all others are on record alone, their files gone
# the places and names of the cards on the screen, null while one is missing
SEEN = """
const near = [...document.querySelectorAll('#video-list > *')].filter((e) => {
  const b = e.getBoundingClientRect();
  return b.bottom > 0 && b.top < innerHeight;
});
if (!near.length || near.some((e) => e.classList.contains('ghost'))) return null;
return near.map((e) => [Number(e.ariaPosInSet), e.querySelector('.name').textContent]);
"""
TEXTS = [
    f"a {colour} {shape}" for shape in ("circle", "star", "ring", "heart", "moon")
    for colour in ("red", "blue", "green", "white")
]  # fmt: skip
COPIES = (
    "INSERT INTO videos SELECT videos.* REPLACE (n AS video_id, printf('%06d.mp4', n) AS name,"
    " '/gone/' || n AS path, n::VARCHAR AS content_hash)"
    " FROM videos, range($1, $2) AS numbers(n) WHERE video_id = 1",
    "INSERT INTO aliases SELECT aliases.* REPLACE (n AS video_id, printf('%06d.mp4', n) AS name)"
    " FROM aliases, range($1, $2) AS numbers(n) WHERE video_id = 1",
)


def fill(root: Path, clip: Path, videos: int, frames: int) -> None:
    """Make a store: some copies of a clip with made-up rows, the others on record alone."""
    with Engine.open(root, device="cpu") as engine:
        for number in range(1, FIRST + 1):
            copy = clip.with_name(f"{number:06d}.mp4")
            copy.write_bytes(clip.read_bytes() + number.to_bytes(4, "big"))
        engine.register([clip.with_name(f"{number:06d}.mp4") for number in range(1, FIRST + 1)])
        store, space = engine.store, engine.model.space
        store.catalog.add_space(space)
        each, drawn = frames // FIRST, np.random.default_rng(0)
        for video in engine.videos():
            vectors = drawn.standard_normal((each, space.dimension)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            numbers, flat = np.arange(each, dtype=np.int32), np.zeros(each, np.float32)
            seconds = numbers * ((video.duration_seconds or 1.0) / each)
            rows = Rows(numbers, seconds, ["P"] * each, vectors, flat, flat, np.ones(each, bool))
            key = (video.video_id, space.key, Sampling(FPS), "dense")
            store.write_part(*key, 0, 0.0, video.duration_seconds or 1.0, rows)
            store.finish_segment(*key, each)
            store.catalog.set_status(video.video_id, "ready")
        engine.build_indexes()
        catalog = store.layout.catalog
    with closing(Database(catalog)) as database:
        with database.transaction() as cursor:
            for statement in COPIES:
                cursor.execute(statement, [FIRST + 1, videos + 1])
        Ledger(database).commit_numbers("video_ids", videos)


def measure(root: Path) -> dict[str, object]:
    """Open the page on a store and take its times, in milliseconds, and its size."""
    from tests.api.browser import Browser, count, driving
    from tests.api.conftest import serving
    from tests.waiting import until

    found: dict[str, object] = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    settings = ServerSettings()
    with (
        TemporaryDirectory() as profile,
        driving() as driver,
        Engine.open(root, device="cpu") as engine,
        serving(create_app(engine.load(), settings), settings) as at,
    ):
        browser, url = Browser(driver, Path(profile)), f"http://127.0.0.1:{at}/"
        try:
            paint = (
                "return performance.getEntriesByType('paint')"
                ".find((e) => e.name === 'first-contentful-paint')?.startTime"
            )
            for name, address, ready in (
                ("home", "", "#home-grid .video"),
                ("videos", "#videos", "#video-list .video a.name"),
            ):
                painted = []
                for _ in range(7):
                    browser.open("about:blank")
                    browser.open(url + address)
                    painted.append(until(lambda: browser.tell(paint)))
                    until(lambda ready=ready: count(browser, ready))
                found[f"first paint, {name}"] = median(painted)
            size = "return document.querySelectorAll('*').length"
            found["elements at the top"] = browser.tell(size)
            for share in (0.5, 1.0, 0.25):
                begun = time.perf_counter()
                browser.tell(f"scrollTo(0, {share} * document.documentElement.scrollHeight)")
                until(lambda: browser.tell(SEEN))
                found[f"cards after a jump to {share:.0%}"] = 1000 * (time.perf_counter() - begun)
                found[f"elements at {share:.0%}"] = browser.tell(size)
            browser.open(f"{url}#find?q=a+yellow+drop")
            until(lambda: count(browser, "#find-results .card"))
            found["find"] = median(browser.tell_later(_find(text)) for text in TEXTS)
        finally:
            browser.close()
    return found


def requests(root: Path) -> dict[str, object]:
    """Ask warm requests of a store; their processor time in milliseconds, medians of nine."""
    top = "SELECT seconds, CLIP_MATCH(frame, 'a star') AS s FROM frames ORDER BY s DESC LIMIT 10"
    texts, found = cycle(TEXTS), {}
    with (
        Engine.open(root, device="cpu") as engine,
        TestClient(create_app(engine.load(), ServerSettings()), "http://localhost") as client,
    ):
        asked = {
            "find": lambda: client.post("/query", json={"text": next(texts)}),
            "find words": lambda: client.post(
                "/query", json={"text": next(texts), "signals": ["words"]}
            ),
            "find where": lambda: client.post(
                "/query", json={"text": next(texts), "where": "duration_seconds > 1"}
            ),
            "sql": lambda: client.post("/sql", json={"sql": top}),
            "explain": lambda: client.post("/explain", json={"sql": top}),
            "examples": lambda: client.get("/examples"),
            "settings": lambda: client.get("/settings"),
            "videos": lambda: client.get("/videos?limit=50"),
        }
        for name, ask in asked.items():
            taken = []
            for _ in range(11):
                begun = time.process_time()
                ask().raise_for_status()
                taken.append(1000 * (time.process_time() - begun))
            found[name] = median(taken[2:])
    return found


def _find(text: str) -> str:
    """Look for a text on the page; the milliseconds until its moments are drawn."""
    return (
        "const done = arguments[0], begun = performance.now();"
        "const node = document.querySelector('#find-results');"
        "new MutationObserver((_, seen) => { if (node.children.length) { seen.disconnect();"
        " done(performance.now() - begun); } }).observe(node, { childList: true });"
        f"location.hash = '#find?' + new URLSearchParams({{ q: {json.dumps(text)} }});"
    )


def main() -> None:
    """Measure, and print what was found."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--videos", type=int, default=100_000)
    given.add_argument("--frames", type=int, default=100_000)
    given.add_argument("--requests", action="store_true")
    chosen = given.parse_args()
    with TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        pictures = cycle(render_frames(make_clip(0, "test", duration_seconds=6), 96))
        write_h264(clip, islice(pictures, chosen.frames // FIRST), FPS)
        fill(Path(folder) / "store", clip, chosen.videos, chosen.frames)
        found = (requests if chosen.requests else measure)(Path(folder) / "store")
    print(json.dumps({"videos": chosen.videos, "frames": chosen.frames, **found}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
