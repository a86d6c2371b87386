"""Random sequences of changes leave what a plain dictionary says."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.storage.view import View
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space

DIMENSION = 6
SPACE = Space("tiny", "local/tiny", "local", "0" * 64, "{}", DIMENSION)
# all lists are probed, so every search is exact and can be compared
TUNING = Tuning(
    flat_rows=12, coded_rows=24, probe_share=1.0, coded_share=1.0, exact_rows=4, delta_rows=6
)
INFO = VideoInfo("/v.mp4", "h264", 64, 48, 0, 30.0, 10.0, 0.0, 300, 1234, "yuv420p", False)
STRETCH = 4
Rowset = dict[int, tuple[np.ndarray, bool]]  # the vector of each row, and whether it is exact


class StoreAgainstDictionary(RuleBasedStateMachine):
    """`seen` maps row id to (vector, exact) of what a query must find."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = Store.open(self.root, tuning=TUNING)
        self.store.catalog.add_space(SPACE)
        self.seen: dict[int, tuple[np.ndarray, bool]] = {}
        self.sampling: dict[int, Sampling | None] = {}
        self.written: set[tuple[int, str, str, int]] = set()
        self.hidden: dict[int, dict[int, tuple[np.ndarray, bool]]] = {}
        self.draw = np.random.default_rng(0)
        self.pinned: tuple[View, Rowset, Rowset] | None = None

    def vectors(self, count: int) -> np.ndarray:
        drawn = self.draw.standard_normal((count, DIMENSION))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    def videos(self) -> list[int]:
        return sorted(self.sampling)

    @rule(name=st.sampled_from("abc"), content=st.integers(0, 5))
    def add_video(self, name: str, content: int) -> None:
        self.store.catalog.add_video(INFO, f"hash {content}", name)
        left = {video.video_id for video in self.store.catalog.videos()}
        for gone in set(self.sampling) - left:
            self.drop(gone)
        for new in left - set(self.sampling):
            self.sampling[new], self.hidden[new] = None, {}

    def drop(self, video_id: int) -> None:
        self.sampling.pop(video_id)
        self.hidden.pop(video_id)
        self.seen = {row: kept for row, kept in self.seen.items() if row >> 32 != video_id}
        self.written = {key for key in self.written if key[0] != video_id}

    @precondition(lambda self: self.sampling)
    @rule(
        data=st.data(),
        sampling=st.sampled_from([Sampling(2), Sampling(4)]),
        strategy=st.sampled_from(["dense", "reusevit"]),
        stretch=st.integers(0, 3),
    )
    def write(self, data: st.DataObject, sampling: Sampling, strategy: str, stretch: int) -> None:
        video_id = data.draw(st.sampled_from(self.videos()))
        frames = np.arange(stretch * STRETCH, (stretch + 1) * STRETCH, dtype=np.int32)
        vectors, exact = self.vectors(STRETCH), strategy == "dense"
        flat = np.zeros(STRETCH, np.float32)
        rows = Rows(frames, frames / 2, ["P"] * STRETCH, vectors, flat, flat, np.full(4, exact))
        self.store.write_part(video_id, SPACE.key, sampling, strategy, stretch, 0.0, 1.0, rows)
        key = (video_id, sampling, strategy, stretch)
        if key in self.written:
            return
        self.written.add(key)
        self.sampling[video_id] = self.sampling[video_id] or sampling
        into = self.seen if self.sampling[video_id] == sampling else self.hidden[video_id]
        for frame, vector in zip(frames, vectors, strict=True):
            row_id = (video_id << 32) + int(frame)
            if exact or not (row_id in into and into[row_id][1]):
                into[row_id] = (vector, exact)

    @precondition(lambda self: self.sampling)
    @rule(data=st.data(), sampling=st.sampled_from([Sampling(2), Sampling(4)]))
    def finish(self, data: st.DataObject, sampling: Sampling) -> None:
        video_id = data.draw(st.sampled_from(self.videos()))
        self.store.finish_segment(video_id, SPACE.key, sampling, "reusevit", 0)
        if self.sampling[video_id] != sampling:
            self.seen = {row: kept for row, kept in self.seen.items() if row >> 32 != video_id}
            self.seen |= self.hidden[video_id]
        self.sampling[video_id], self.hidden[video_id] = sampling, {}
        self.written = {k for k in self.written if k[0] != video_id or k[1] == sampling}

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        some = data.draw(st.sampled_from(sorted(self.seen)))
        rows = [row for row in self.seen if row >> 32 == some >> 32]
        chosen = data.draw(st.lists(st.sampled_from(rows), min_size=1, unique=True))
        vectors = self.vectors(len(chosen))
        frames = np.array(chosen) & 0xFFFFFFFF
        self.store.supersede(SPACE.key, some >> 32, frames, vectors)
        self.seen |= {row: (vector, True) for row, vector in zip(chosen, vectors, strict=True)}

    @precondition(lambda self: self.sampling)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        video_id = data.draw(st.sampled_from(self.videos()))
        self.store.catalog.remove_video(video_id)
        self.drop(video_id)

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
    def rows_are_those_of_the_dictionary(self) -> None:
        table = self.store.rows(SPACE.key, columns=["row_id", "exact", "embedding"])
        expected = sorted(self.seen)
        assert table.column("row_id").to_pylist() == expected
        assert table.column("exact").to_pylist() == [self.seen[row][1] for row in expected]
        stored = np.array(table.column("embedding").to_pylist(), np.float16)
        if expected:
            given = np.stack([self.seen[row][0] for row in expected]).astype(np.float16)
            assert np.array_equal(stored, given)

    @invariant()
    def searches_are_those_of_numpy(self) -> None:
        query, ids = self.vectors(1)[0], np.array(sorted(self.seen), np.int64)
        every = [self.seen[row][0].astype(np.float16) for row in sorted(self.seen)]
        scores = np.array(every, np.float32).reshape(-1, DIMENSION) @ query
        order = np.argsort(-scores)
        assert self.store.search(SPACE.key, query, 3).row_ids.tolist() == ids[order][:3].tolist()
        assert self.store.scores(SPACE.key, query).row_ids.tolist() == ids[order].tolist()
        wanted = [row for row in ids[order].tolist() if row % 2]
        found = self.store.search(SPACE.key, query, 2, allowed=ids[ids % 2 == 1])
        assert found.row_ids.tolist() == wanted[:2]

    @rule()
    def pin(self) -> None:
        self.pinned = self.store.view(SPACE.key), dict(self.seen), dict(self.seen)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def make_exact_here(self, data: st.DataObject) -> None:
        view, read = self.store.view(SPACE.key), dict(self.seen)
        chosen = data.draw(st.lists(st.sampled_from(sorted(read)), min_size=1, unique=True))
        vectors = self.vectors(len(chosen))
        seen = read | {row: (vector, True) for row, vector in zip(chosen, vectors, strict=True)}
        self.pinned = view.made_exact(np.array(chosen, np.int64), vectors), seen, read

    @invariant()
    def a_view_is_that_of_its_moment(self) -> None:
        views = [(self.store.view(SPACE.key), self.seen, self.seen)]
        for view, seen, read in [*views, *([self.pinned] if self.pinned else [])]:
            ids, query = np.array(sorted(seen), np.int64), self.vectors(1)[0]
            every = [seen[row][0].astype(np.float16) for row in sorted(seen)]
            scores = np.array(every, np.float32).reshape(-1, DIMENSION) @ query
            assert view.frames.row_ids.tolist() == ids.tolist()
            assert view.frames.exact.tolist() == [seen[row][1] for row in sorted(seen)]
            few = self.draw.permutation(len(ids))[: self.draw.integers(len(ids) + 1)]
            for places in (None, np.sort(few), np.arange(len(ids))):
                own = scores if places is None else scores[places]
                chosen = np.arange(len(ids)) if places is None else places
                np.testing.assert_allclose(view.rows.scores(query, places), own, atol=1e-5)
                low, high = sorted(self.draw.uniform(-0.6, 0.6, 2))
                for least, most in ((low, np.inf), (low, high), (-np.inf, high)):
                    at, along = view.rows.within(query, least, most, places)
                    inside = np.sort(chosen[(own >= least) & (own <= most)])
                    assert at.tolist() == inside.tolist()
                    np.testing.assert_allclose(along, scores[inside], atol=1e-5)
                hits = view.rows.search(query, 3, places, exact=True)
                assert hits.row_ids.tolist() == ids[chosen[np.argsort(-own)][:3]].tolist()
                assert hits.exact
            table = view.frames.table(["row_id", "exact", "drift"], few)
            assert table.column("row_id").to_pylist() == ids[few].tolist()
            # columns say what was so when the view was read
            assert table.column("exact").to_pylist() == [read[row][1] for row in ids[few]]

    @invariant()
    def files_are_sound(self) -> None:
        kinds = {problem.kind for problem in self.store.verify()}
        assert kinds <= {"incomplete"}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)


TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
TestStoreAgainstDictionary.settings = settings(
    max_examples=8,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
