"""One small store twice: as the engine holds it, and as plain tables of a stock DuckDB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from math import erf, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context, Reply
from engine.search.context import Background, Range
from engine.search.null import load_null
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space

VIDEOS, FRAMES, WIDTH = 6, 6, 32
TEXTS = ("a dog", "a cat", "a red car")
BACKGROUND = tuple(f"background {number}" for number in range(200))
SPACE = Space("hash", "hash", "local", "0" * 64, "{}", WIDTH)
RATE = 0.01  # of false matches

SAID: dict[int, dict[str, Any]] = {  # of videos, by those who keep them
    1: {"camera": "north", "lanes": 2, "kept": True, "recorded_at": datetime(2026, 3, 1, 8)},
    2: {"camera": "north", "lanes": 3.5, "recorded_at": datetime(2026, 3, 1, 23, 59, 59, 250_000)},
    4: {"camera": "south", "lanes": 2, "kept": False, "checked": datetime(2026, 4, 1)},
    5: {"camera": "x", "kept": True, "recorded_at": datetime(2026, 2, 28)},
}
KINDS = {"camera": "VARCHAR", "checked": "TIMESTAMP", "kept": "BOOLEAN", "lanes": "DOUBLE"}
CHANGED = ("strategy", "reuse_rate", "drift", "exact")  # columns of rows made exact

Vectors = NDArray[np.float32]


def hashed(data: str) -> Vectors:
    """A unit vector from the hash of a text."""
    seed = int.from_bytes(sha256(data.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def shown(frame: int) -> Vectors:
    """What a frame shows: its own noise and, by its number, one of the texts."""
    video, index = divmod(frame, 1000)
    vector = hashed(f"frame {frame}") + (0.4 + 0.1 * index) * hashed(TEXTS[(video + index) % 3])
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def stored(vector: Vectors) -> Vectors:
    """A vector as the store keeps it."""
    return vector.astype(np.float16).astype(np.float32)


class Hashes:
    """Texts by their hash; a picture holds the number of the frame that it shows."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of texts."""
        return np.stack([hashed(text) for text in texts])

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Unit vectors of pictures."""
        return np.stack([shown(int(image.view(np.int64)[0])) for image in images])


@dataclass
class World:
    """The store with what a query on it reaches, and the twin; every frame number is unique.

    Video 7 is in quarantine and has no frames. With `approximate` every frame but each fourth is
    stored a little off, and only exact ones tell what the twin says.
    """

    root: Path
    approximate: bool = False
    asked: list[Range] = field(default_factory=list)
    questions: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store.open(self.root)
        self.sandbox = Sandbox()
        if not self.store.catalog.videos():
            self._fill()
        self.twin = self._twin()
        load_null(self.context())  # measured on the rows as they are now, as `chances` is

    def _fill(self) -> None:
        self.store.catalog.add_space(SPACE)
        self.store.catalog.use_space(SPACE.key)
        for number in range(1, VIDEOS + 1):
            self._add(number)
        for number, values in SAID.items():
            self.store.catalog.set_values([number], values)
        lost = self._video(7)
        self.store.catalog.set_status(lost, "quarantined", "no video stream")

    def add_views(self, views: Mapping[str, str]) -> None:
        """Make views in the store and for the twin."""
        for name, select in views.items():
            self.store.catalog.save_view(name, select)
            self.twin.execute(f"CREATE VIEW {name} AS {select}")

    def follow(self) -> None:
        """Tell the twin which rows statements have made exact so far."""
        if not self.approximate:
            return
        self.twin.register("given", self.store.rows(SPACE.key))
        changed = ", ".join(f"{name} = given.{name}" for name in CHANGED)
        self.twin.execute(
            f"UPDATE frames SET {changed} FROM given WHERE given.frame = frames.frame"
        )
        self.twin.unregister("given")

    def close(self) -> None:
        """Give store and databases back."""
        self.twin.close()
        self.sandbox.close()
        self.store.close()

    def context(self, **options: Any) -> Context:
        """What a query reaches."""
        return Context(
            reading=Reading(self.store, SPACE.key),
            encoder=Hashes(),
            sandbox=self.sandbox,
            background=lambda: Background(BACKGROUND),
            embed=self._embed,
            respond=self._respond,
            redecode=self._redecode if self.approximate else None,
            options=Options(false_match_rate=RATE).override(options),
        )

    def score(self, frame: int, text: str) -> float:
        """The cosine of a frame's exact vector, as stored, with a text's."""
        return float(stored(shown(frame)).astype(np.float64) @ hashed(text).astype(np.float64))

    def _video(self, number: int) -> int:
        path, seconds = f"/videos/v{number}.mp4", 2.0 + number / 2
        info = VideoInfo(
            path, ("h264", "hevc")[number % 2], 64 * number, 48, 0, 25.0, seconds, 0.0,
            50 + 10 * number, 1000 * number, "yuv420p", False,
        )  # fmt: skip
        video = self.store.catalog.add_video(info, f"{number:064x}", f"v{number}.mp4")
        gops = [Gop(index, 1.0 * index, 1.0 * index + 1, 25, index) for index in range(3)]
        self.store.catalog.add_gops(video, gops)
        return video

    def _add(self, number: int) -> None:
        video = self._video(number)
        assert video == number
        frames = np.arange(FRAMES, dtype=np.int32) + 1000 * number
        exact = np.array([not self.approximate or frame % 4 == 0 for frame in frames])
        vectors = [shown(int(frame)) for frame in frames]
        off = [0.1 * hashed(f"noise {frame}") for frame in frames]
        kept = [v if e else v + o for v, o, e in zip(vectors, off, exact, strict=True)]
        rows = Rows(
            frames,
            (frames % 1000) / 2,
            ["I" if index % 2 == 0 else "P" for index in range(FRAMES)],
            np.stack([vector / np.linalg.norm(vector) for vector in kept]),
            np.linspace(0, 0.5, FRAMES, dtype=np.float32) * ~exact,
            np.where(exact, 0, 0.005).astype(np.float32),
            exact,
        )
        key = (video, SPACE.key, Sampling(2), "reusevit" if self.approximate else "dense")
        self.store.write_part(*key, 0, 0.0, 3.0, rows)
        self.store.finish_segment(*key, FRAMES)

    def _embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        self.asked += missing
        return Embedded()

    def _respond(self, video: int, question: str, choices: tuple[str, ...] | None) -> Reply | None:
        self.questions.append((video, question))
        if video > VIDEOS:
            return None
        return Reply((choices or (question,))[video % len(choices or (1,))], 0.5, 0.0, float(video))

    def _redecode(self, video: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        return [np.array([frame], np.int64).view(np.uint8) for frame in frames]

    def _twin(self) -> Any:
        """A stock DuckDB with the same rows; the functions look up what numpy computed."""
        twin = duckdb.connect(config={"threads": "1"})
        frames = self.store.rows(SPACE.key)
        view = Reading(self.store, SPACE.key).view
        videos, gops = view.videos, view.gops
        names = (
            "video_id name path duration_seconds fps width height codec num_frames ingested_at"
            " status error"
        )
        tables = {
            "videos": videos.select(names.split()),
            "gops": gops.select(["video_id", "gop", "start_seconds", "stop_seconds", "num_frames"]),
            "frames": frames.select(
                [
                    "video_id",
                    "frame",
                    "seconds",
                    "picture",
                    "strategy",
                    "reuse_rate",
                    "drift",
                    "exact",
                ]
            ),
        }
        for name, table in tables.items():
            twin.register("given", table)
            twin.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            twin.unregister("given")
        said(twin)
        self._functions(twin, frames.column("frame").to_pylist())
        return twin

    def _functions(self, twin: Any, frames: list[int]) -> None:
        cosines = {(frame, text): self.score(frame, text) for frame in frames for text in TEXTS}
        chance = chances(self, frames)
        twin.create_function("CLIP_MATCH", _look_up(cosines), ["BIGINT", "VARCHAR"], "DOUBLE",
                             type="arrow")  # fmt: skip
        twin.create_function("CLIP_PROB", _look_up(chance), ["BIGINT", "VARCHAR"], "DOUBLE",
                             type="arrow")  # fmt: skip
        twin.execute(f"CREATE MACRO IS_MATCH(f, t) AS CLIP_PROB(f, t) >= {1 - RATE}")
        reply = (
            "'confidence': 0.5::DOUBLE, 'start_seconds': 0.0::DOUBLE, 'stop_seconds': v::DOUBLE}"
        )
        known = f"v IS NULL OR v > {VIDEOS}"
        twin.execute(
            f"CREATE MACRO VIDEO_QA(v, q) AS CASE WHEN {known} THEN NULL ELSE"
            f" {{'answer': q, {reply} END, (v, q, c) AS CASE WHEN {known} THEN NULL ELSE"
            f" {{'answer': c[v % len(c) + 1], {reply} END"
        )


def said(twin: Any) -> None:
    """Put what was said of videos beside what is known of them."""
    for name, kind in {"recorded_at": "TIMESTAMP", "recorded_from": "VARCHAR"}.items():
        twin.execute(f"ALTER TABLE videos ADD COLUMN {name} {kind}")
    twin.execute("ALTER TABLE videos ADD COLUMN folder VARCHAR")
    twin.execute("UPDATE videos SET folder = '/videos'")
    for name, kind in KINDS.items():
        twin.execute(f"ALTER TABLE videos ADD COLUMN {name} {kind}")
    for number, values in SAID.items():
        for name, value in values.items():
            twin.execute(f"UPDATE videos SET {name} = ? WHERE video_id = ?", [value, number])
    twin.execute("UPDATE videos SET recorded_from = 'given' WHERE recorded_at IS NOT NULL")
    twin.execute('ALTER TABLE frames ADD COLUMN "at" TIMESTAMP')
    for number, values in SAID.items():
        if "recorded_at" in values:
            twin.execute(
                'UPDATE frames SET "at" = ?::TIMESTAMP + to_milliseconds(1000 * seconds)'
                " WHERE video_id = ?",
                [values["recorded_at"], number],
            )


def chances(world: World, frames: Sequence[int]) -> dict[tuple[int, str], float]:
    """The share of unrelated pairs that score lower, as docs/reference/sql.md defines it."""
    rows = world.store.vectors(SPACE.key, np.array([(f // 1000 << 32) | f for f in frames]))
    texts = np.stack([hashed(text) for text in BACKGROUND])
    middle_frame, middle_text = rows.mean(0), texts.mean(0)
    null = np.sort(((rows - middle_frame) @ (texts - middle_text).T).ravel())
    middle = float(np.median(null))
    low, high = (float(value) for value in np.quantile(null, [0.01, 0.99]))
    lower, upper = middle - low, high - middle
    width = min(max(lower, upper), 1.5 * lower) / NormalDist().inv_cdf(0.99)
    found = {}
    for text in TEXTS:
        shifted = hashed(text) - middle_text
        for frame in frames:
            score = float((stored(shown(frame)) - middle_frame) @ shifted)
            found[frame, text] = 0.5 * (1 + erf((score - middle) / (width * sqrt(2))))
    return found


def _look_up(known: dict[tuple[int, str], float]) -> Any:
    def function(frames: Any, texts: Any) -> Any:
        pairs = zip(frames.to_pylist(), texts.to_pylist(), strict=True)
        return pa.array([known.get(pair) for pair in pairs], pa.float64())

    return function
