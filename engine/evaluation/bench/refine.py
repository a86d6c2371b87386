"""Refinement: how much of the dense answer is there before and after it, and at what cost."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from engine.evaluation.encodings import Pixels, render_pool
from engine.evaluation.report import Report
from engine.query import query
from engine.search.context import Background, SearchContext
from engine.search.exactness import refine_top_k
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.refiner import Refiner
from engine.search.work import Embedded
from engine.storage import row_id
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.model import Model, load_model
from engine.vision.registry import build_strategy
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, reuse_rate

TOP = 10
COLUMNS = (
    *("queries", "reuse", "drift", "top-10 before", "top-10 after", "rows cold", "rows warm"),
    *("ms cold", "ms warm"),
)
MOMENTS = 5
MOMENT_COLUMNS = (
    *("queries", "moments before", "moments after", "rows of the first tenth", "rows cold"),
    *("rows warm", "ms cold", "ms warm"),
)


@dataclass(slots=True)
class Archive:
    """Stored approximate rows, and the pictures and exact vectors behind them."""

    store: Store
    space: str
    exact: NDArray[np.float32]  # [n, E], unit, as a store would hold them
    row_ids: NDArray[np.int64]  # [n], ascending
    videos: dict[int, Pixels]
    model: Model

    def redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return pictures that are in memory: decoding is not what is measured here."""
        planes = self.videos[video_id].pixels[list(frames)]
        return list(planes.permute(0, 2, 3, 1).contiguous().numpy())

    def refiner(self, confidence: float) -> Refiner:
        """Return a refiner that embeds densely by the model."""
        embed = self.model.embed_images
        reading = Reading(self.store, self.space)
        return Refiner(reading, self.redecode, embed, confidence=confidence)

    def best(self, query: NDArray[np.float32]) -> set[int]:
        """Return the dense engine's answer."""
        return set(self.row_ids[np.argsort(-(self.exact @ query), kind="stable")[:TOP]].tolist())


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 40,
    seed: int = 7,
    num_queries: int = 200,
    scale: float = 1.0,
    threshold: float | None = None,
) -> Report:
    """Refine captions' answers over made-up test clips.

    They are stored by the gate that ships, scaled, or by an untrained one of a threshold.
    """
    loaded = load_model(model, device=device, dtype=torch.float32)
    size = loaded.tower.config.image_size
    made = list(render_pool("test", clips, seed, size=size, workers=0))
    texts = [text for clip, _ in made for text in (clip.caption, *(s.caption for s in clip.spans))]
    queries = list(dict.fromkeys(texts))[:num_queries]
    options = {"scale": scale} if threshold is None else {"threshold": threshold}
    gate = build_strategy("earlygate", loaded.tower, space=loaded.space, options=options)
    videos = [frames for _, frames in made]
    frames = measure_refinement(loaded, gate, videos, queries)
    return replace(frames, more=(measure_moments(loaded, gate, videos, queries),))


def measure_refinement(
    model: Model,
    strategy: Strategy,
    videos: Sequence[Pixels],
    queries: Sequence[str],
    *,
    confidence: float = 0.99,
) -> Report:
    """Ask every query of one store, one after the other, then a query near to each again.

    The first asking is cold, but for the rows that earlier queries made exact.
    """
    vectors = model.embed_texts(queries)
    cold: list[tuple[int, float]] = []
    warm: list[tuple[int, float]] = []
    before = after = 0
    with tempfile.TemporaryDirectory() as folder, _archive(folder, model, strategy, videos) as made:
        archive, reuse, drift = made
        for query in vectors:
            wanted = archive.best(query)
            nearest = archive.store.search(archive.space, query, TOP).row_ids
            before += len(wanted & set(nearest.tolist()))
        archive.refiner(confidence).residuals()
        for query in vectors:
            found, cost = _ask(archive, query, confidence)
            after += len(archive.best(query) & found)
            cold.append(cost)
        for query in vectors:
            near = query + 0.1 * np.roll(query, 1)
            _, cost = _ask(archive, (near / np.linalg.norm(near)).astype(np.float32), confidence)
            warm.append(cost)
    total = TOP * len(queries)
    row = [len(queries), reuse, drift, before / total, after / total]
    rows_cold, rows_warm = (float(np.mean([r for r, _ in c])) for c in (cold, warm))
    ms_cold, ms_warm = (1e3 * float(np.mean([s for _, s in c])) for c in (cold, warm))
    frames = sum(len(video.pixels) for video in videos)
    first = [rows for rows, _ in cold[: max(1, len(cold) // 10)]]
    notes = (
        f"{len(videos)} videos, {frames} frames; error bounds at {confidence:.0%} per row; pictures"
        " from memory; warm: each query once more, a tenth of another direction added",
        f"rows of the first tenth of the queries, when nothing is exact yet: {np.mean(first):.1f}",
    )
    return Report("Refinement", COLUMNS, [[*row, rows_cold, rows_warm, ms_cold, ms_warm]], notes)


def measure_moments(
    model: Model, strategy: Strategy, videos: Sequence[Pixels], queries: Sequence[str]
) -> Report:
    """Ask every query for moments of one store, one after the other, and all of them once more.

    A moment is given back where video, start, stop and best frame are those of exact rows.
    """
    vectors = model.embed_texts(queries)
    with tempfile.TemporaryDirectory() as folder:
        with _archive(f"{folder}/dense", model, Dense(model.tower), videos) as (dense, _, _):
            true = [_moments(dense, each) for each in vectors]
        with _archive(f"{folder}/near", model, strategy, videos) as (near, _, _):
            before = [_moments(near, each, exact=False) for each in vectors]
            cold, warm = ([_moments(near, each) for each in vectors] for _ in range(2))
    total = sum(len(each.told) for each in true)
    shares = [
        sum(len(one.told & other.told) for one, other in zip(true, found, strict=True)) / total
        for found in (before, cold)
    ]
    first = cold[: max(1, len(cold) // 10)]
    rows = [float(np.mean([each.rows for each in found])) for found in (first, cold, warm)]
    ms = [1e3 * float(np.mean([each.seconds for each in found])) for found in (cold, warm)]
    notes = (
        f"the {MOMENTS} best moments, the same in start, stop and best frame; the first query's "
        "audit counts as its rows; warm: all queries once more",
    )
    row = [len(queries), *shares, *rows, *ms]
    return Report("Refinement of moments", MOMENT_COLUMNS, [row], notes)


@dataclass(frozen=True, slots=True)
class _Found:
    """The moments of one query, and what they took."""

    told: frozenset[tuple[str, float, float, float]]
    rows: int
    seconds: float


def _moments(archive: Archive, vector: NDArray[np.float32], exact: bool | None = None) -> _Found:
    context = SearchContext(
        reading=Reading(archive.store, archive.space),
        encoder=archive.model,
        background=lambda: Background(()),
        embed=lambda *_: Embedded(),
        redecode=archive.redecode,
        options=Options(exact=exact),
    )
    started = time.perf_counter()
    found = query(context, vector, top_k=MOMENTS)
    seconds = time.perf_counter() - started
    told = ((m.name, m.start_seconds, m.stop_seconds, m.peak_seconds) for m in found.moments)
    return _Found(frozenset(told), found.coverage.refined, seconds)


def _ask(
    archive: Archive, query: NDArray[np.float32], confidence: float
) -> tuple[set[int], tuple[int, float]]:
    started = time.perf_counter()
    hits, said = refine_top_k(archive.refiner(confidence), query, TOP)
    return set(hits.row_ids.tolist()), (said.rows, time.perf_counter() - started)


@contextmanager
def _archive(
    folder: str, model: Model, strategy: Strategy, videos: Sequence[Pixels]
) -> Iterator[tuple[Archive, float, float]]:
    """Store all videos by the strategy; yield them with the mean reuse rate and drift."""
    with Store.open(Path(folder)) as store:
        store.catalog.add_space(model.space)
        exact, row_ids, by_id = [], [], {}
        rates, drifts = [], []
        for video in videos:
            chunk = [Chunk(video.pixels, last=True)]
            [ours], [dense] = strategy.encode(chunk), Dense(model.tower).encode(chunk)
            theirs = F.normalize(dense.embeddings.float(), dim=-1).cpu()
            video_id = _store(store, model, video, ours)
            by_id[video_id] = video
            exact.append(theirs.half().float().numpy())
            row_ids.append(row_id.pack(video_id, np.arange(len(video.pixels))))
            rates.append(reuse_rate(ours, model.tower))
            own = F.normalize(ours.embeddings.float(), dim=-1).cpu()
            drifts.append(1 - (own * theirs).sum(1))
        archive = Archive(
            store, model.space.key, np.concatenate(exact), np.concatenate(row_ids), by_id, model
        )
        yield archive, float(torch.cat(rates).mean()), float(torch.cat(drifts).mean())


def _store(store: Store, model: Model, video: Pixels, encoded: Encoded) -> int:
    count, size = len(video.pixels), model.tower.config.image_size
    info = VideoInfo(
        f"/{video.name}", "h264", size, size, 0, 2.0, count / 2, 0.0, count, 1, "yuv420p", False
    )
    video_id = store.catalog.add_video(info, video.name, video.name)
    drift = torch.full((count,), torch.nan) if encoded.drift is None else encoded.drift
    rows = Rows(
        frame=np.arange(count, dtype=np.int32),
        seconds=video.seconds,
        picture=["P"] * count,
        embeddings=F.normalize(encoded.embeddings.float(), dim=-1).cpu().numpy(),
        reuse_rate=reuse_rate(encoded, model.tower).float().cpu().numpy(),
        drift=torch.where(encoded.full, 0.0, drift).cpu().numpy(),
        exact=encoded.full.cpu().numpy(),
    )
    key = (video_id, model.space.key, Sampling(2), "earlygate")
    store.write_part(*key, 0, 0.0, count / 2, rows)
    store.finish_segment(*key, count)
    return video_id
