"""Statements that come again while rows come, go and are found damaged: numpy's answer each time.

The same few statements run after every change, so their plans are kept, their tails need no
DuckDB, their cut-offs are range searches; the answer is computed anew from the rows and vectors
that the store has then.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context
from engine.search.context import Background
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from tests.asking import HashEncoder, hash_vector
from tests.search.test_nearest import SPACE

# all lists are probed, so every search is exact and can be compared
TUNING = Tuning(
    flat_rows=12, coded_rows=24, probe_share=1.0, coded_share=1.0, exact_rows=4, delta_rows=6
)
INFO = VideoInfo("/v.mp4", "h264", 64, 48, 0, 30.0, 4.0, 0.0, 120, 1234, "yuv420p", False)
DOG = "CLIP_MATCH(f.frame, 'a dog')"
STATEMENTS = {
    "best": f"SELECT f.video_id, f.frame, {DOG} AS s FROM frames f ORDER BY s DESC LIMIT 5",
    "best of few": f"SELECT f.video_id, f.frame, {DOG} AS s FROM frames f WHERE f.seconds < 1"
    " ORDER BY s DESC LIMIT 3",
    "cut": f"SELECT f.video_id, f.frame FROM frames f WHERE {DOG} > 0.1",
    "turned": f"SELECT f.video_id, f.frame FROM frames f WHERE 0.1 < {DOG} AND f.seconds >= 0.5",
    "between": f"SELECT f.video_id, f.frame FROM frames f WHERE {DOG} BETWEEN -0.1 AND 0.1",
    "two": f"SELECT f.video_id, f.frame FROM frames f WHERE {DOG} > 0 AND"
    " CLIP_MATCH(f.frame, 'a cat') < 0.1",
    "moments": "SELECT DISTINCT video_id FROM moments('a dog', min_score => 0.1)",
    "odd": f"SELECT f.video_id, max({DOG}) AS s FROM frames f JOIN videos v USING (video_id)"
    " WHERE v.video_id % 2 = 1 GROUP BY 1",
    "plain": "SELECT f.frame, f.exact, f.video_id FROM frames f WHERE f.video_id > 1"
    " ORDER BY f.video_id, f.frame LIMIT 7",
}


@pytest.fixture(scope="module", autouse=True)
def _one_sandbox(sandbox: Sandbox) -> None:
    Changes.sandbox = sandbox


class Changes(RuleBasedStateMachine):
    """A store that changes, and statements on it."""

    sandbox: Sandbox

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = Store.open(self.root, tuning=TUNING)
        self.store.catalog.add_space(SPACE)
        self.draw = np.random.default_rng(0)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)

    @property
    def videos(self) -> list[int]:
        return [video.video_id for video in self.store.catalog.videos()]

    @rule(content=st.integers(0, 4), fps=st.sampled_from([2, 4]), exact=st.booleans())
    def ingest(self, content: int, fps: int, exact: bool) -> None:
        """Add a video, or embed one that there is again, at this sampling or another."""
        video = self.store.catalog.add_video(INFO, f"hash {content}", f"v{content}")
        self.store.catalog.add_gops(video, [Gop(at, at, at + 1.0, 30, at) for at in range(4)])
        count = 2 * fps
        numbers, flat = np.arange(count, dtype=np.int32), np.zeros(count, np.float32)
        drawn = self.draw.standard_normal((count, 32))
        vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        kind = "dense" if exact else "reusevit"
        key = (video, SPACE.key, Sampling(fps), kind)
        rows = Rows(
            numbers, numbers / fps, ["P"] * count, vectors, flat, flat, np.full(count, exact)
        )
        self.store.write_part(*key, 0, 0.0, 4.0, rows)
        self.store.finish_segment(*key, count)

    @precondition(lambda self: self.videos)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.store.catalog.remove_video(data.draw(st.sampled_from(self.videos)))

    @precondition(lambda self: self.videos)
    @rule(data=st.data())
    def quarantine(self, data: st.DataObject) -> None:
        video = data.draw(st.sampled_from(self.videos))
        self.store.catalog.set_status(video, "quarantined", "no video stream")

    @precondition(lambda self: list(self.root.rglob("*.parquet")))
    @rule(data=st.data(), at_once=st.booleans())
    def damage(self, data: st.DataObject, at_once: bool) -> None:
        """Change a byte of a part; `at_once`: what is damaged is looked for."""
        self.damage_part(data.draw(st.sampled_from(sorted(self.root.rglob("*.parquet")))), at_once)

    def damage_part(self, path: Path, at_once: bool) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
        if at_once:
            self.reopen()
            for video in self.videos:
                self.store.embedded_spans(video, SPACE.key, Sampling(2))

    @rule()
    def build(self) -> None:
        self.store.build_index(SPACE.key)

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.root, tuning=TUNING)

    @invariant()
    def statements_answer_what_numpy_does(self) -> None:
        given = {name: self.ask(sql) for name, sql in STATEMENTS.items()}
        expected = self.expected()
        for name, rows in expected.items():
            assert len(given[name]) == len(rows), name
            for one, other in zip(given[name], rows, strict=True):
                assert one == pytest.approx(other, abs=1e-5), name

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        context = Context(
            reading=Reading(self.store, SPACE.key),
            encoder=HashEncoder(),
            sandbox=self.sandbox,
            background=lambda: Background(()),
            embed=lambda *_: Embedded(),
            respond=lambda *_: None,
        )
        found = [tuple(row.values()) for row in run_sql(context, sql, max_rows=1000).rows()]
        return found if "ORDER BY" in sql else sorted(found)

    def expected(self) -> dict[str, list[tuple[object, ...]]]:
        """What each statement must answer, from the rows and vectors as the store gives them."""
        names = ["video_id", "frame", "seconds", "exact", "embedding"]
        rows = self.store.rows(SPACE.key, columns=names).to_pydict()
        vectors = np.array(rows["embedding"], np.float32).reshape(-1, 32)
        video, frame, seconds = (np.array(rows[name]) for name in names[:3])
        dog, cat = (vectors @ hash_vector(text.encode()) for text in ("a dog", "a cat"))
        order = np.argsort(-dog)

        def shown(places: np.ndarray, *more: np.ndarray) -> list[tuple[object, ...]]:
            listed = (column[places].tolist() for column in (video, frame, *more))
            return list(zip(*listed, strict=True))

        def where(mask: np.ndarray) -> list[tuple[object, ...]]:
            return sorted(shown(np.flatnonzero(mask)))

        early = order[seconds[order] < 1] if len(order) else order
        odd = [int(one) for one in np.unique(video) if one % 2]
        late = [at for at in range(len(video)) if video[at] > 1][:7]
        return {
            "best": shown(order[:5], dog),
            "best of few": shown(early[:3], dog),
            "cut": where(dog > 0.1),
            "turned": where((dog > 0.1) & (seconds >= 0.5)),
            "between": where((dog >= -0.1) & (dog <= 0.1)),
            "two": where((dog > 0) & (cat < 0.1)),
            "moments": [(int(one),) for one in np.unique(video[dog > 0.1])],
            "odd": [(one, float(dog[video == one].max())) for one in odd],
            "plain": [(rows["frame"][at], rows["exact"][at], rows["video_id"][at]) for at in late],
        }


TestChanges = Changes.TestCase
TestChanges.settings = settings(
    max_examples=6,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_rows_of_a_damaged_part_are_in_no_answer() -> None:
    changes, every = Changes(), f"SELECT DISTINCT f.video_id FROM frames f WHERE {DOG} > -2"
    for content in (0, 1):
        changes.ingest(content, 2, exact=True)
    assert changes.ask(every) == [(1,), (2,)]
    changes.damage_part(min(changes.root.rglob("*.parquet")), at_once=True)
    changes.statements_answer_what_numpy_does()
    assert len(changes.ask(every)) == 1
    for content in (0, 1):
        changes.ingest(content, 2, exact=True)
    changes.statements_answer_what_numpy_does()
    assert changes.ask(every) == [(1,), (2,)]
    changes.teardown()
