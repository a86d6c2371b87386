"""Above the size of a flat index: exact where asked, said to be approximate where not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context
from engine.query import query
from engine.search.context import Background
from engine.search.nearest import find_best
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space
from tests.asking import HashEncoder, hash_vector

SPACE = Space("hash", "hash", "local", "0" * 64, "{}", 32)
FEW_PROBES = {
    "ivf76,fp16": Tuning(flat_rows=100, probe_share=0.01, exact_rows=5),
    "ivf76,2bit,fp16": Tuning(flat_rows=100, coded_rows=100, coded_share=0.01, exact_rows=5),
}
COUNT = 1500
INFO = VideoInfo("/v.mp4", "h264", 64, 48, 0, 30.0, 750.0, 0.0, 22_500, 1, "yuv420p", False)


def made_vectors() -> np.ndarray:
    draw = np.random.default_rng(0)
    drawn = draw.standard_normal((COUNT, 32)) + 0.2 * hash_vector(b"a dog")
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=FEW_PROBES)
def large(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Store]:
    """A store whose index is an inverted file of which a search looks at little."""
    folder: Path = tmp_path_factory.mktemp("large") / "data"
    with Store.open(folder, tuning=FEW_PROBES[request.param]) as store:
        store.catalog.add_space(SPACE)
        video_id = store.catalog.add_video(INFO, "hash", "v")
        store.catalog.add_gops(video_id, [Gop(0, 0.0, 750.0, 22_500, 0)])
        frame, flat = np.arange(COUNT, dtype=np.int32), np.zeros(COUNT, np.float32)
        vectors, exact = made_vectors(), np.ones(COUNT, bool)
        rows = Rows(frame, frame / 2, ["P"] * COUNT, vectors, flat, flat, exact)
        store.write_part(video_id, SPACE.key, Sampling(2), "dense", 0, 0.0, 750.0, rows)
        store.finish_segment(video_id, SPACE.key, Sampling(2), "dense", COUNT)
        assert store.build_index(SPACE.key).kind == request.param
        yield store


def context_of(store: Store, sandbox: Sandbox, **options: Any) -> Context:
    return Context(
        reading=Reading(store, SPACE.key),
        encoder=HashEncoder(),
        sandbox=sandbox,
        background=lambda: Background(()),
        embed=lambda *_: Embedded(),
        respond=lambda *_: None,
        redecode=lambda *_: [],
        options=Options().override(options),
    )


def best(count: int, text: str = "a dog") -> list[int]:
    scores = made_vectors().astype(np.float16).astype(np.float32) @ hash_vector(text.encode())
    return np.argsort(-scores)[:count].tolist()


@pytest.mark.parametrize("count", [10, 100])
def test_exact_is_a_full_scan_at_any_size(large: Store, sandbox: Sandbox, count: int) -> None:
    context = context_of(large, sandbox, exact=True)
    hits = find_best(context, hash_vector(b"a dog"), count)
    assert (hits.row_ids & 0xFFFFFFFF).tolist() == best(count)
    assert hits.exact
    assert not context.work.approximate
    kind = large.index_status()[0].kind
    assert kind in FEW_PROBES
    assert context.work.found == [f"{kind}, exact scan"]


def test_what_an_index_may_miss_is_said(large: Store, sandbox: Sandbox) -> None:
    missed = 0
    for text in ("a dog", "a cat", "a car", "a tree"):
        context = context_of(large, sandbox)
        hits = find_best(context, hash_vector(text.encode()), 20)
        missed += (hits.row_ids & 0xFFFFFFFF).tolist() != best(20, text)
        assert context.work.approximate
        assert "lists" in context.work.found[0]
    assert missed
    found = query(context_of(large, sandbox), "a dog", top_k=1, group_by="frame")
    assert found.coverage.approximate


def test_query_and_sql_pass_it_down(large: Store, sandbox: Sandbox) -> None:
    asked = context_of(large, sandbox, exact=True)
    found = query(asked, "a dog", top_k=20, group_by="frame", near_duplicate=1.0)
    assert [round(moment.peak_seconds * 2) for moment in found.moments] == best(20)
    assert not found.coverage.approximate
    sql = (
        "SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC LIMIT 50"
        " OPTIONS (exact = true)"
    )
    result = run_sql(context_of(large, sandbox), sql, max_rows=100)
    assert [row["frame"] for row in result.rows()] == best(50)
    assert not result.work.approximate


@pytest.mark.parametrize("before", [750, 700, 20, 0])
@pytest.mark.parametrize(
    ("condition", "low", "high"),
    [
        ("CLIP_MATCH(frame, 'a dog') > 0.25", 0.25, 2),
        ("0.05 + 0.2 < CLIP_MATCH(frame, 'a dog')", 0.25, 2),
        ("CLIP_MATCH(frame, 'a dog') BETWEEN 0.1 AND 0.25", 0.1, 0.25),
        ("-CLIP_MATCH(frame, 'a dog') > 0.1", -2, -0.1),
    ],
)
@pytest.mark.parametrize("shown", ["frame", "frame, CLIP_MATCH(frame, 'a cat') AS cat"])
def test_a_cutoff_is_a_full_scan_s(
    large: Store, sandbox: Sandbox, before: int, condition: str, low: float, high: float, shown: str
) -> None:
    rows = made_vectors().astype(np.float16).astype(np.float32)
    scores, cats = (rows @ hash_vector(text.encode()) for text in ("a dog", "a cat"))
    inside = (scores > low) & (scores < high) & (np.arange(COUNT) / 2 < before)
    sql = f"SELECT {shown} FROM frames WHERE {condition} AND seconds < {before} ORDER BY frame"
    table = run_sql(context_of(large, sandbox), sql, max_rows=COUNT).table
    assert table.column("frame").to_pylist() == np.flatnonzero(inside).tolist()
    if "cat" in shown:
        assert table.column("cat").to_pylist() == pytest.approx(cats[inside], abs=1e-5)


def test_a_cutoff_passes_on_no_row_outside(large: Store, sandbox: Sandbox) -> None:
    sql = "SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.4"
    result = run_sql(context_of(large, sandbox), sql, max_rows=COUNT, analyze=True)
    assert result.explain.splitlines()[2].lstrip().startswith("Score")
    expected = int((made_vectors() @ hash_vector(b"a dog") > 0.4).sum())
    assert 0 < result.work.runs[2].rows == expected < COUNT / 10
